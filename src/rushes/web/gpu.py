"""What a render's GPUs did, made ready for the strip below its steps: lanes on the trace's axis, and marks on them.

Where there is nothing to show, the strip says why: a render on the CPU is no missing measurement.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from rushes.query import SpanRow
from rushes.query.gpu_tracks import gpu_tracks, workers_of
from rushes.query.perfetto import GpuTrack
from rushes.query.promql import PromQLError
from rushes.web import facades, numbers

__all__ = ["GpuWatch", "gpu_view"]

_NS: Final = 1_000_000_000
_ASK_AGAIN_NS: Final = 2 * _NS  # readings come every few seconds
_LATE_NS: Final = 60 * _NS  # after the trace's end no reading of its time is still under way
_MOST: Final = 64  # GPUs that are shown
_HOLDS: Final = 3.0  # readings further apart than so many usual intervals have a gap between them

_THROTTLES: Final[Mapping[str, str]] = {
    "sw_power_cap": "power cap",
    "hw_slowdown": "hardware slowdown",
    "sync_boost": "sync boost",
    "sw_thermal": "heat (driver)",
    "hw_thermal": "heat (hardware)",
    "hw_power_brake": "power brake",
}


@dataclass(frozen=True, slots=True)
class _Lane:
    """One line: `top` is the scale's end (None: the highest reading), `limit` a dashed target of the specification."""

    metric: str
    name: str
    unit: str
    top: float | None = None
    limit: float | None = None
    summary: str = "mean"


_LANES: Final = (
    _Lane("gpu_utilization_percent", "Utilisation", "%", top=100),
    _Lane("gpu_memory_used_bytes", "Memory", "B", summary="most"),
    _Lane("rushes_gpu_power_draw_watts", "Power", "W"),
    _Lane("gpu_temperature_celsius", "Temperature", "\N{DEGREE SIGN}C", top=100, limit=80, summary="most"),
    _Lane("nvlink_bandwidth_gbps", "NVLink", "Gbit/s"),
)


def gpu_view(spans: Sequence[SpanRow], promql: facades.PromQL, origin_ns: int) -> dict[str, Any] | None:
    """The strip's data, or None for a trace that renders nothing. Times are nanoseconds after `origin_ns`."""
    if not any(s.name in ("dit_inference", "denoising_loop") or _is_step(s.name) for s in spans):
        return None
    try:
        tracks = gpu_tracks(spans, promql)
    except PromQLError as error:
        return {"note": f"The GPU's readings can't be read: {error}", "gpus": []}
    if not tracks:
        return {"note": _absence(spans), "gpus": []}
    busy = workers_of(spans)
    by_gpu: dict[tuple[str, int, str, str], list[GpuTrack]] = defaultdict(list)
    for track in tracks:
        number = int(track.gpu_index) if track.gpu_index.isdecimal() else -1
        by_gpu[track.worker_id, number, track.gpu_index, track.gpu_type].append(track)
    return {
        "note": "",
        "gpus": [
            {"name": f"GPU {index}".strip(), "type": kind, "worker": worker}
            | _gpu(found, busy[worker], origin_ns)
            for (worker, _, index, kind), found in sorted(by_gpu.items())[:_MOST]
        ],
    }


def _is_step(name: str) -> bool:
    return name.startswith("step_") and name[5:].isdigit()


def _absence(spans: Sequence[SpanRow]) -> str:
    clocks = {s.attributes.get("rushes.clock") for s in spans} - {None}
    if clocks == {"host"}:
        return "No GPU: this render ran on the CPU"
    if "gpu" in clocks:
        return "GPU metrics were not recorded: no collector watched this render's GPU, or its worker is not known"
    return "GPU metrics were not recorded"


def _gpu(tracks: Sequence[GpuTrack], busy: tuple[int, int], origin_ns: int) -> dict[str, Any]:
    gauges = {track.metric: track for track in tracks if not track.reason}
    lanes = [
        _line(lane, gauges[lane.metric], gauges, busy, origin_ns) for lane in _LANES if lane.metric in gauges
    ]
    throttles = [t for t in tracks if t.metric == "rushes_gpu_throttled"]
    return {
        "busy": [at - origin_ns for at in busy],
        "lanes": lanes,
        "marks": sorted(
            [mark for track in throttles for mark in _throttled(track, origin_ns)] + _xids(gauges, origin_ns),
            key=lambda mark: (mark["from"], mark["name"]),
        ),
        "throttle_known": bool(throttles),
    }


def _line(
    lane: _Lane,
    track: GpuTrack,
    gauges: Mapping[str, GpuTrack],
    busy: tuple[int, int],
    origin_ns: int,
) -> dict[str, Any]:
    top = lane.top
    if lane.unit == "B":
        top = _whole(track, gauges.get("gpu_memory_utilization_percent"))
    during = [v for at, v in track.points if busy[0] <= at <= busy[1]]
    most = max(v for _, v in track.points)
    summary = None
    if during:
        summary = max(during) if lane.summary == "most" else sum(during) / len(during)
    return {
        "name": lane.name,
        "unit": lane.unit,
        "top": max(most, top) if top else most or 1.0,
        "limit": lane.limit,
        "summary": summary,
        "summary_word": lane.summary,
        "gap": round(_HOLDS * _interval(track.points)),
        "points": [[at - origin_ns, _brief(value)] for at, value in track.points],
    }


def _whole(used: GpuTrack, percent: GpuTrack | None) -> float | None:
    """The GPU's memory in bytes, from what is used and its share."""
    shares = dict(percent.points) if percent else {}
    found = [100 * value / shares[at] for at, value in used.points if shares.get(at)]
    return float(round(sorted(found)[len(found) // 2])) if found else None


def _brief(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")


def _interval(points: Sequence[tuple[int, float]]) -> int:
    """The usual time between two readings, in nanoseconds; of a single one, the collector's own."""
    apart = sorted(b - a for (a, _), (b, _) in pairwise(points))
    return apart[len(apart) // 2] if apart else _ASK_AGAIN_NS


def _throttled(track: GpuTrack, origin_ns: int) -> list[dict[str, Any]]:
    """Stretches in which the clocks were held down: from a reading that says so to the next that doesn't."""
    holds = round(_HOLDS * _interval(track.points))
    found: list[tuple[int, int]] = []
    for number, (at, value) in enumerate(track.points):
        if not value:
            continue
        after = track.points[number + 1][0] if number + 1 < len(track.points) else at + holds // 3
        until = min(after, at + holds)
        if found and found[-1][1] >= at:
            found[-1] = found[-1][0], until
        else:
            found.append((at, until))
    words = _THROTTLES.get(track.reason, track.reason)
    return [
        {
            "kind": "throttle",
            "name": f"throttled by {words}",
            "from": start - origin_ns,
            "to": end - origin_ns,
            "text": numbers.duration((end - start) / _NS),
        }
        for start, end in found
    ]


def _xids(gauges: Mapping[str, GpuTrack], origin_ns: int) -> list[dict[str, Any]]:
    counts = gauges.get("rushes_gpu_xid_errors_total")
    last = dict(gauges["rushes_gpu_xid_last"].points) if "rushes_gpu_xid_last" in gauges else {}
    if counts is None:
        return []
    return [
        {
            "kind": "xid",
            "name": f"XID {round(last[at])}" if at in last else "XID error",
            "from": at - origin_ns,
            "to": at - origin_ns,
            "text": "",
        }
        for (_, before), (at, value) in pairwise(counts.points)
        if value > before
    ]


class GpuWatch:
    """The strip's data for one open page: asked for again while readings may still come, and not too often.

    Args:
        promql: the query layer's PromQL.
        clock_ns: the time, in Unix nanoseconds.
    """

    def __init__(self, promql: facades.PromQL, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._promql = promql
        self._clock_ns = clock_ns
        self._asked_ns: int | None = None
        self._seen: tuple[int, int] | None = None
        self._view: dict[str, Any] | None = None

    def view(self, spans: Sequence[SpanRow], origin_ns: int) -> dict[str, Any] | None:
        """As `gpu_view`. Blocks."""
        now_ns = self._clock_ns()
        end_ns = max((s.start_ns + s.duration_ns for s in spans), default=now_ns)
        seen = (len(spans), origin_ns)
        if self._asked_ns is not None:
            recent = 0 <= now_ns - self._asked_ns < _ASK_AGAIN_NS
            settled = now_ns > end_ns + _LATE_NS
            if (settled and seen == self._seen) or (recent and self._seen and origin_ns == self._seen[1]):
                return self._view
        self._asked_ns, self._seen = now_ns, seen
        self._view = gpu_view(spans, self._promql, origin_ns)
        return self._view
