"""A trace as Perfetto and chrome://tracing read it (the Trace Event Format, JSON), with what the GPUs did below it.

A viewer draws events of one thread as a stack and refuses two that overlap without nesting. Spans overlap freely,
so each service gets as many lanes ("threads") as it takes; a span is drawn inside another only if that is its
ancestor.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rushes.query.traces import SpanRow

__all__ = ["GpuTrack", "chrome_trace"]

_NS_PER_US: Final = 1000
_MAX_DEPTH: Final = 200  # what nests deeper lies beside its ancestors
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GpuTrack:
    """One metric of one GPU over time, in (nanoseconds since the epoch, value), by time.

    `reason` tells the tracks of `rushes_gpu_throttled` apart; `worker_id` is whose GPU it was ("" says: nobody's).
    """

    gpu_index: str
    gpu_type: str
    metric: str
    points: Sequence[tuple[int, float]]
    worker_id: str = ""
    reason: str = ""


def chrome_trace(spans: Sequence[SpanRow], gpu: Sequence[GpuTrack] = ()) -> dict[str, Any]:
    """The trace as a JSON object for Perfetto's "Open trace file".

    Times are whole microseconds from the trace's start; the exact nanoseconds, ids, attributes and resource are in
    `args`. Spans that are sums over modules (`rushes.aggregated`) have the category "sum": their length counts, not
    their place. The result depends on the spans, not on their order.

    Args:
        spans: one trace, or several that are to be seen together.
        gpu: counters to be drawn below, each GPU as a process of its own. A counter holds until its next point:
            the last one before the trace's start stands at its start; those after its end are left out.
    """
    ordered = sorted(spans, key=_order(spans))
    points = [time_ns for track in gpu for time_ns, _ in track.points]
    origin_ns = min((s.start_ns for s in ordered), default=min(points, default=0))
    events: list[Event] = []
    services: dict[tuple[str, str], list[SpanRow]] = {}
    for span in ordered:
        services.setdefault(_service(span), []).append(span)
    for pid, (service, members) in enumerate(services.items(), start=1):
        events.extend(_service_events(pid, " ".join(filter(None, service)), members, spans, origin_ns))
    end_ns = max((_end_ns(s) for s in ordered), default=max(points, default=0))
    events.extend(_gpu_events(len(services) + 1, gpu, origin_ns, end_ns))
    return {
        "displayTimeUnit": "ms",
        "otherData": {
            "start_ns": str(origin_ns),
            "trace_ids": ",".join(sorted({s.trace_id for s in ordered})),
        },
        "traceEvents": events,
    }


def _service(span: SpanRow) -> tuple[str, str]:
    return span.service, str(span.resource.get("service.instance.id") or "")


def _end_ns(span: SpanRow) -> int:
    return span.start_ns + max(0, span.duration_ns)


def _ancestors(span: SpanRow, by_id: Mapping[tuple[str, str], SpanRow]) -> Iterator[tuple[str, str]]:
    """The ids above a span, nearest first; parents that never came, or that go in a circle, end it."""
    seen = {(span.trace_id, span.span_id)}
    parent = (span.trace_id, span.parent_span_id)
    while parent in by_id and parent not in seen and len(seen) <= _MAX_DEPTH:
        yield parent
        seen.add(parent)
        parent = (span.trace_id, by_id[parent].parent_span_id)


def _order(spans: Sequence[SpanRow]) -> Any:
    """By start, the longer first, ancestors before their descendants; then whatever tells spans apart."""
    by_id = {(s.trace_id, s.span_id): s for s in spans}

    def key(span: SpanRow) -> tuple[Any, ...]:
        depth = sum(1 for _ in _ancestors(span, by_id))
        rest = json.dumps([span.kind, span.status, _plain(span.attributes)], sort_keys=True)
        return (span.start_ns, -_end_ns(span), depth, span.name, span.trace_id, span.span_id, rest)

    return key


@dataclass(slots=True)
class _Lane:
    """A thread of the viewer: the spans that are open on it, outermost first."""

    tid: int
    open: list[SpanRow] = field(default_factory=list)

    def close_until(self, time_us: int) -> None:
        while self.open and _us(_end_ns(self.open[-1])) <= time_us:
            self.open.pop()


def _us(time_ns: int) -> int:
    """Whole microseconds. Rounding down keeps the order of times, so that what nests goes on nesting."""
    return time_ns // _NS_PER_US


def _lanes(members: Sequence[SpanRow], spans: Sequence[SpanRow]) -> list[tuple[int, SpanRow]]:
    """A lane for each span, in the spans' order: its nearest ancestor's where it fits in there, else an idle one."""
    by_id = {(s.trace_id, s.span_id): s for s in spans}
    lane_of: dict[tuple[str, str], _Lane] = {}
    lanes: list[_Lane] = []
    busy: list[tuple[int, int]] = []  # when a lane's outermost span ends, and the lane
    idle: list[int] = []
    placed = []
    for span in members:
        start, end = _us(span.start_ns), _us(_end_ns(span))
        while busy and busy[0][0] <= start:
            heapq.heappush(idle, heapq.heappop(busy)[1])
        chosen = None
        for ancestor in _ancestors(span, by_id):
            lane = lane_of.get(ancestor)
            if lane is not None:
                lane.close_until(start)
                if lane.open and lane.open[-1] is by_id[ancestor] and end <= _us(_end_ns(lane.open[-1])):
                    chosen = lane
                    break
        if chosen is None:
            if idle:
                chosen = lanes[heapq.heappop(idle) - 1]
                chosen.open.clear()
            else:
                chosen = _Lane(len(lanes) + 1)
                lanes.append(chosen)
            heapq.heappush(busy, (end, chosen.tid))
        chosen.open.append(span)
        lane_of[span.trace_id, span.span_id] = chosen
        placed.append((chosen.tid, span))
    return placed


def _service_events(
    pid: int, name: str, members: Sequence[SpanRow], spans: Sequence[SpanRow], origin_ns: int
) -> Iterator[Event]:
    placed = _lanes(members, spans)
    yield _process(pid, name or "unknown service")
    for tid in sorted({tid for tid, _ in placed}):
        label = "spans" if tid == 1 else f"spans ({tid})"
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": label}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}
    for tid, span in placed:
        start = _us(span.start_ns)
        yield {
            "ph": "X",
            "name": span.name,
            "cat": _category(span),
            "pid": pid,
            "tid": tid,
            "ts": start - _us(origin_ns),
            "dur": _us(_end_ns(span)) - start,
            "args": _args(span),
        }
        for event in span.events:
            yield {
                "ph": "i",
                "s": "t",
                "name": str(event.get("name", "")),
                "cat": "event",
                "pid": pid,
                "tid": tid,
                "ts": max(0, _us(int(event.get("time_ns", span.start_ns))) - _us(origin_ns)),
                "args": _plain(event.get("attributes") or {}),
            }


def _category(span: SpanRow) -> str:
    if span.status == "error":
        return "error"
    return "sum" if span.attributes.get("rushes.aggregated") is True else "span"


def _args(span: SpanRow) -> Event:
    # Nanoseconds and other long numbers as text: a viewer's numbers are floating-point.
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "kind": span.kind,
        "status": span.status,
        "status_message": span.status_message,
        "start_ns": str(span.start_ns),
        "duration_ns": str(span.duration_ns),
        "attributes": _plain(span.attributes),
        "resource": _plain(span.resource),
    }


def _gpu_events(first_pid: int, gpu: Sequence[GpuTrack], origin_ns: int, end_ns: int) -> Iterator[Event]:
    by_gpu: dict[tuple[int, str, str], list[GpuTrack]] = {}
    for track in gpu:
        number = int(track.gpu_index) if track.gpu_index.isdecimal() else -1
        by_gpu.setdefault((number, track.gpu_index, track.gpu_type), []).append(track)
    for pid, (which, tracks) in enumerate(sorted(by_gpu.items()), start=first_pid):
        yield _process(pid, f"GPU {which[1]} {which[2]}".strip())
        for track in sorted(tracks, key=lambda t: (t.metric, t.reason, sorted(t.points))):
            known = [(at, v) for at, v in sorted(track.points) if at <= end_ns and math.isfinite(v)]
            begun = [(origin_ns, v) for at, v in known if at <= origin_ns][-1:]
            for time_ns, value in begun + [(at, v) for at, v in known if at > origin_ns]:
                yield {
                    "ph": "C",
                    "name": f"{track.metric} {track.reason}".strip(),
                    "cat": "gpu",
                    "pid": pid,
                    "ts": _us(time_ns) - _us(origin_ns),
                    "args": {"value": value},
                }


def _process(pid: int, name: str) -> Event:
    return {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}


def _plain(value: Any) -> Any:
    """A value that JSON can hold: NaN and infinities, which it can't, become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
