"""What a trace's GPUs did while it ran: their gauges, found by the workers that the trace names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from rushes.query.perfetto import GpuTrack
from rushes.query.promql import PromQL
from rushes.query.traces import SpanRow

__all__ = ["gpu_tracks"]

_GAUGES: Final = ("gpu_utilization_percent", "gpu_memory_used_bytes", "gpu_temperature_celsius")
_POINTS: Final = 1000


def gpu_tracks(spans: Sequence[SpanRow], promql: PromQL) -> list[GpuTrack]:
    """The gauges of each GPU of the trace's workers, over the trace's time; none where no GPU was watched."""
    workers = sorted({str(s.attributes["worker_id"]) for s in spans if "worker_id" in s.attributes})
    start_s = min(s.start_ns for s in spans) / 1e9
    end_s = max(s.start_ns + s.duration_ns for s in spans) / 1e9
    step_s = max(1.0, (end_s - start_s) / _POINTS)
    found = []
    for worker in workers:
        for gauge in _GAUGES:
            # A JSON string is a PromQL string: the id comes from telemetry, and is quoted.
            series = promql.range(f"{gauge}{{worker_id={json.dumps(worker)}}}", start_s, end_s, step_s).series
            found += [
                GpuTrack(
                    gpu_index=one.labels.get("gpu_index", ""),
                    gpu_type=one.labels.get("gpu_type", ""),
                    metric=gauge,
                    points=[
                        (int(ts * 1e9), value) for ts, value in zip(one.timestamps, one.values, strict=True)
                    ],
                )
                for one in series
            ]
    return found
