"""Readings of a worker's GPUs for pages without a store: busy while it renders, idle before and after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rushes.query.promql import Series

if TYPE_CHECKING:
    from collections.abc import Callable

    from rushes.query import VideoRow
    from web.fakes import Room

__all__ = ["H100", "add_gpu"]

H100 = "NVIDIA H100 80GB HBM3"
WORKER = "worker-pod-1-gpu-0"
EVERY_S = 2.0


def add_gpu(
    room: Room, row: VideoRow, *, index: int = 0, kind: str = H100, hot: bool = False, silent: bool = False
) -> None:
    """Readings over a video's time and a minute around it.

    Args:
        room: where they go.
        row: the video.
        index: the GPU's number.
        kind: its product name.
        hot: it is throttled by heat for a while, and reports an XID error.
        silent: a stretch in its middle has no readings.
    """
    spans = room.traces.get(row.trace_id)
    setup = next(s for s in spans if s.name == "worker_setup")
    begin = setup.start_ns / 1e9
    end = max(s.start_ns + s.duration_ns for s in spans) / 1e9
    middle, length = (begin + end) / 2, end - begin

    def during(busy: Callable[[float], float], idle: float) -> Callable[[float], float]:
        return lambda t: busy(t) if begin <= t <= end else idle

    throttled = (middle, middle + length / 8)
    gauges: list[tuple[str, dict[str, str], Callable[[float], float]]] = [
        ("gpu_utilization_percent", {}, during(lambda t: 96 + round(3 * math.sin(t)), 0)),
        ("gpu_memory_used_bytes", {}, during(lambda t: 71.2e9 + 2e9 * (t > middle), 3.1e9)),
        ("gpu_memory_utilization_percent", {}, during(lambda t: 89.0 + 2.5 * (t > middle), 3.875)),
        (
            "gpu_temperature_celsius",
            {},
            during(lambda t: 62 + (24 if hot else 9) * math.sin(math.pi * (t - begin) / length), 41),
        ),
        ("rushes_gpu_power_draw_watts", {}, during(lambda t: 640 + 30 * math.sin(t / 3), 118)),
        (
            "rushes_gpu_throttled",
            {"reason": "hw_thermal"},
            lambda t: float(hot and throttled[0] <= t < throttled[1]),
        ),
        ("rushes_gpu_throttled", {"reason": "sw_power_cap"}, lambda _t: 0),
        ("rushes_gpu_xid_errors_total", {}, lambda t: float(hot and t >= throttled[0] + 3)),
    ]
    times = [begin - 60 + EVERY_S * n for n in range(math.floor((length + 120) / EVERY_S))]
    if silent:
        times = [t for t in times if not middle <= t <= middle + length / 4]
    owner = {"worker_id": WORKER, "gpu_index": str(index), "gpu_type": kind}
    for name, more, value in gauges:
        labels = {"__name__": name, **owner, **more}
        room.promql.readings.append(Series(labels, times, [float(value(t)) for t in times]))
    if hot:
        late = [t for t in times if t >= throttled[0] + 3]
        room.promql.readings.append(
            Series({"__name__": "rushes_gpu_xid_last", **owner}, late, [94.0] * len(late))
        )
