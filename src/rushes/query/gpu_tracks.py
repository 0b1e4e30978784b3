"""What a trace's GPUs did while it ran: their readings, found by the workers that the trace names and its time.

The readings are the stored ones, at their own times: nothing is filled in between two of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Final, Protocol

from rushes.query.perfetto import GpuTrack
from rushes.query.promql.model import QueryResult
from rushes.query.traces import SpanRow

__all__ = ["MARGIN_S", "gpu_tracks", "workers_of"]

MARGIN_S: Final = (
    10.0  # the readings just before and after a trace belong to its picture: some seconds lie between two
)
_METRICS: Final = (
    "gpu_utilization_percent",
    "gpu_memory_used_bytes",
    "gpu_memory_utilization_percent",
    "gpu_temperature_celsius",
    "rushes_gpu_power_draw_watts",
    "nvlink_bandwidth_gbps",
    "rushes_gpu_throttled",
    "rushes_gpu_xid_errors_total",
    "rushes_gpu_xid_last",
)
_LONGEST_S: Final = 86_400.0
_POINTS: Final = 2000  # of one track: more are told apart by no screen
_WORKERS: Final = 64

_Reading = tuple[int, float]


class _PromQL(Protocol):
    def instant(self, expr: str, time_s: float) -> QueryResult: ...


def workers_of(spans: Sequence[SpanRow]) -> dict[str, tuple[int, int]]:
    """The workers that made ready for the trace's job, each with the time from its first span to its last one's end.

    Times are nanoseconds since the epoch. Of a worker whose spans don't tell that they are its, the end is the
    trace's.
    """
    named = sorted({str(s.attributes["worker_id"]) for s in spans if s.attributes.get("worker_id")})
    found = {}
    for worker in named[:_WORKERS]:
        # A root begins before the worker that ends the job and writes it.
        begun = [s.start_ns for s in spans if s.attributes.get("worker_id") == worker]
        own = [s for s in spans if s.resource.get("service.instance.id") == worker and s.parent_span_id]
        begun += [s.start_ns for s in own]
        found[worker] = min(begun), max(s.start_ns + s.duration_ns for s in own or spans)
    return found


def gpu_tracks(spans: Sequence[SpanRow], promql: _PromQL) -> list[GpuTrack]:
    """The readings of each GPU of the trace's workers, over the trace's time and MARGIN_S on either side of it.

    None where no GPU was watched. Of a trace longer than a day the first day is told; of a track with very many
    readings, stretches' means (of counts, flags and error numbers their largest).

    Raises:
        PromQLError: the store can't answer, or there is too much to read.
    """
    workers = workers_of(spans)
    if not workers:
        return []
    start_s = min(s.start_ns for s in spans) / 1e9 - MARGIN_S
    end_s = max(s.start_ns + s.duration_ns for s in spans) / 1e9 + MARGIN_S
    end_s = min(end_s, start_s + _LONGEST_S)
    window_ms = math.ceil((end_s - start_s) * 1000)
    readings: dict[tuple[str, ...], dict[int, float]] = {}
    for worker in workers:
        # A JSON string is a PromQL string: the id comes from telemetry, and is quoted.
        wanted = f'{{__name__=~"{"|".join(_METRICS)}",worker_id={json.dumps(worker)}}}[{window_ms}ms]'
        for series in promql.instant(wanted, end_s).series:
            labels = series.labels
            names = ("__name__", "gpu_index", "gpu_type", "reason")
            # Which process read the GPU is no matter: another takes over when it ends.
            of = readings.setdefault((worker, *(labels.get(name, "") for name in names)), {})
            of.update(
                (round(ts * 1e3) * 1_000_000, value)
                for ts, value in zip(series.timestamps, series.values, strict=True)
                if math.isfinite(value)
            )
    return [
        GpuTrack(index, kind, metric, _thinned(sorted(points.items()), metric), worker, reason)
        for (worker, metric, index, kind, reason), points in sorted(readings.items())
        if points
    ]


def _thinned(points: Sequence[_Reading], metric: str) -> Sequence[_Reading]:
    if len(points) <= _POINTS:
        return points
    largest = metric.startswith(("rushes_gpu_throttled", "rushes_gpu_xid"))
    size = math.ceil(len(points) / _POINTS)
    groups = (points[at : at + size] for at in range(0, len(points), size))
    return [
        (
            group[len(group) // 2][0],
            max(v for _, v in group) if largest else math.fsum(v / len(group) for _, v in group),
        )
        for group in groups
    ]
