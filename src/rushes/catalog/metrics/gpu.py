"""GPU cluster metrics: the specification's third table, and the gauge its alerts use but its tables forget."""

from __future__ import annotations

from typing import Final

from rushes.catalog.labels import GPU, MODEL, THROTTLE_REASONS, WORKER, WORKER_STATES
from rushes.catalog.model import Kind, Label, Metric

__all__ = ["GPU_CLUSTER"]

_SECTION: Final = "GPU cluster"

GPU_CLUSTER: Final = (
    Metric(
        name="gpu_utilization_percent",
        kind=Kind.GAUGE,
        help="GPU compute utilization percentage",
        section=_SECTION,
        labels=GPU,
        unit="%",
        target="<40% (scale down), >90% (scale up)",
        requires="a GPU",
    ),
    Metric(
        name="gpu_memory_used_bytes",
        kind=Kind.GAUGE,
        help="GPU memory usage in bytes",
        section=_SECTION,
        labels=GPU,
        unit="By",
        target=">75GB on H100",
        requires="a GPU",
    ),
    Metric(
        name="gpu_memory_utilization_percent",
        kind=Kind.GAUGE,
        help="VRAM percentage",
        section=_SECTION,
        labels=GPU,
        unit="%",
        target=">95% (critical)",
        requires="a GPU",
    ),
    Metric(
        name="gpu_temperature_celsius",
        kind=Kind.GAUGE,
        help="GPU temperature",
        section=_SECTION,
        labels=GPU,
        unit="Cel",
        target=">80°C (warning)",
        requires="a GPU",
    ),
    Metric(
        name="worker_count_total",
        kind=Kind.GAUGE,
        help="Active workers (by status)",
        section=_SECTION,
        labels=(Label("status", "the worker's state", WORKER_STATES),),
        target="-",
    ),
    Metric(
        name="gpu_worker_status",
        kind=Kind.GAUGE,
        help="1 for the state that the worker is in, else 0; healthy is any state but offline",
        section=_SECTION,
        labels=(WORKER, Label("status", "the worker's state, or its health", (*WORKER_STATES, "healthy"))),
        target="used by the alert GPUClusterDown",
    ),
    Metric(
        name="worker_model_load_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="Model loading time",
        section=_SECTION,
        labels=(MODEL,),
        unit="s",
        buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300),
        target=">30s (cold start)",
    ),
    Metric(
        name="tensor_parallel_comm_duration_ms",
        kind=Kind.HISTOGRAM,
        help="Inter-GPU communication: how long a denoising step stood still for collectives",
        section=_SECTION,
        labels=(MODEL,),
        unit="ms",
        buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
        target=">50ms",
        requires="a network that several processes share",
    ),
    Metric(
        name="nvlink_bandwidth_gbps",
        kind=Kind.GAUGE,
        help="NVLink utilization",
        section=_SECTION,
        labels=GPU,
        unit="Gbit/s",
        target="<100 Gbps (under-utilized)",
        requires="NVLink",
    ),
    Metric(
        name="rushes_gpu_power_draw_watts",
        kind=Kind.GAUGE,
        help="Electrical power that the GPU draws",
        section=_SECTION,
        labels=GPU,
        unit="W",
        specified=False,
        requires="a GPU",
    ),
    Metric(
        name="rushes_gpu_throttled",
        kind=Kind.GAUGE,
        help="1 while the GPU's clocks are held down for this reason, else 0",
        section=_SECTION,
        labels=(*GPU, Label("reason", "what holds the clocks down", THROTTLE_REASONS)),
        specified=False,
        requires="a GPU",
    ),
    Metric(
        name="rushes_gpu_ecc_errors_total",
        kind=Kind.COUNTER,
        help="Memory errors since the driver was loaded",
        section=_SECTION,
        labels=(*GPU, Label("kind", "whether ECC corrected them", ("corrected", "uncorrected"))),
        specified=False,
        requires="a GPU",
    ),
    Metric(
        name="rushes_gpu_xid_errors_total",
        kind=Kind.COUNTER,
        help="XID errors that the driver reported while the GPU was watched",
        section=_SECTION,
        labels=GPU,
        specified=False,
        requires="a GPU",
    ),
    Metric(
        name="rushes_gpu_xid_last",
        kind=Kind.GAUGE,
        help="The number of the last XID error",
        section=_SECTION,
        labels=GPU,
        specified=False,
        requires="a GPU",
    ),
)
