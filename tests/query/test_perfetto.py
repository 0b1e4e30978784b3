"""Perfetto's view of a trace: what it refuses never comes out, and nothing is lost on the way."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rushes.query.perfetto import GpuTrack, chrome_trace
from rushes.query.traces import SpanRow

T0 = 1_763_900_000_000_000_123
MS = 1_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"


def _span(number: int, name: str, start: int, duration: int, parent: int = 0, **more: Any) -> SpanRow:
    return SpanRow(
        trace_id=TRACE,
        span_id=f"{number:016x}",
        parent_span_id=f"{parent:016x}" if parent else "",
        name=name,
        service=more.pop("service", "video-generation"),
        kind="internal",
        start_ns=T0 + start,
        duration_ns=duration,
        status=more.pop("status", "unset"),
        status_message="",
        attributes=more.pop("attributes", {}),
        resource={"service.instance.id": more.pop("instance", "worker-1")},
        events=more.pop("events", []),
    )


def _complete(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [e for e in trace["traceEvents"] if e["ph"] == "X"]


def _assert_nested(trace: dict[str, Any]) -> None:
    """As the viewer replays them: by time, in the file's order, each inside what is open or after it."""
    lanes = defaultdict(list)
    for event in _complete(trace):
        lanes[event["pid"], event["tid"]].append(event)
    for events in lanes.values():
        stack: list[int] = []
        assert [e["ts"] for e in events] == sorted(e["ts"] for e in events)
        for event in events:
            end = event["ts"] + event["dur"]
            while stack and stack[-1] <= event["ts"]:
                stack.pop()
            assert not stack or end <= stack[-1]
            stack.append(end)


NUMBERS = st.integers(0, 40)
SPANS = st.lists(
    st.builds(
        lambda number, parent, start, length, service, name, value: _span(
            number, name, start, length, parent, service=service, attributes={"value": value}
        ),
        st.integers(1, 60),
        NUMBERS,
        st.integers(0, 20_000) | st.integers(0, 10**10),
        st.integers(0, 20_000) | st.integers(0, 10**10),
        st.sampled_from(["gateway", "worker"]),
        st.text(max_size=5),
        st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2) | st.none(),
    ),
    unique_by=lambda s: s.span_id,
    max_size=40,
)


@given(SPANS)
def test_on_every_lane_events_nest_or_are_disjoint(spans: list[SpanRow]) -> None:
    trace = chrome_trace(spans)
    _assert_nested(trace)
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in _complete(trace))


@given(SPANS)
def test_nothing_is_lost_and_all_of_it_is_json(spans: list[SpanRow]) -> None:
    trace = json.loads(json.dumps(chrome_trace(spans), allow_nan=False))
    found = {e["args"]["span_id"]: e for e in _complete(trace)}
    assert len(_complete(trace)) == len(found) == len(spans)
    for span in spans:
        event = found[span.span_id]
        assert event["name"] == span.name
        args = event["args"]
        assert (int(args["start_ns"]), int(args["duration_ns"])) == (span.start_ns, span.duration_ns)
        assert (args["trace_id"], args["parent_span_id"]) == (TRACE, span.parent_span_id)
        start = min(s.start_ns for s in spans)
        assert abs(event["ts"] - (span.start_ns - start) / 1000) <= 1
        assert abs(event["dur"] - span.duration_ns / 1000) <= 1


@given(SPANS, st.randoms())
def test_the_order_of_the_spans_does_not_matter(spans: list[SpanRow], shuffler: random.Random) -> None:
    shuffled = list(spans)
    shuffler.shuffle(shuffled)
    assert json.dumps(chrome_trace(shuffled)) == json.dumps(chrome_trace(spans))


@given(SPANS)
def test_a_span_is_drawn_inside_its_ancestors_only(spans: list[SpanRow]) -> None:
    by_id = {s.span_id: s for s in spans}
    lanes = defaultdict(list)
    for event in _complete(chrome_trace(spans)):
        lanes[event["pid"], event["tid"]].append(event)
    for events in lanes.values():
        stack: list[dict[str, Any]] = []
        for event in events:
            while stack and stack[-1]["ts"] + stack[-1]["dur"] <= event["ts"]:
                stack.pop()
            if stack:
                above, at = set(), event["args"]["parent_span_id"]
                while at in by_id and at not in above:
                    above.add(at)
                    at = by_id[at].parent_span_id
                assert stack[-1]["args"]["span_id"] in above
            stack.append(event)


def _video(steps: int) -> list[SpanRow]:
    """A render: stages one after another, each step with four parts."""
    spans = [
        _span(1, "video_generation_request", 0, 10_000 * MS),
        _span(2, "gateway", 0, 5 * MS, 1, service="gateway", instance="gateway"),
        _span(3, "queue_wait", 5 * MS, 500 * MS, 1),
        _span(4, "dit_inference", 505 * MS, 9_000 * MS, 1),
    ]
    for step in range(steps):
        start = 505 * MS + step * 100 * MS
        own = 10 + step * 5
        spans.append(_span(own, f"step_{step + 1}", start, 100 * MS, 4))
        spans.extend(
            _span(own + part, kind, start + (part - 1) * 25 * MS, 25 * MS, own)
            for part, kind in enumerate(("spatial_attn", "temporal_attn", "cross_attn", "ffn"), start=1)
        )
    return spans


def test_a_video_of_280_spans_needs_one_lane_a_service() -> None:
    spans = _video(56)[:280]
    trace = chrome_trace(spans)
    _assert_nested(trace)
    assert len(_complete(trace)) == 280
    assert {(e["pid"], e["tid"]) for e in _complete(trace)} == {(1, 1), (2, 1)}
    names = {e["pid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"}
    assert sorted(names.values()) == ["gateway gateway", "video-generation worker-1"]


def test_siblings_that_overlap_lie_beside_each_other() -> None:
    spans = [
        _span(1, "root", 0, 100 * MS),
        _span(2, "long", 10 * MS, 80 * MS, 1),
        _span(3, "short", 20 * MS, 10 * MS, 1),  # inside "long" by time, not its child
        _span(4, "later", 40 * MS, 10 * MS, 1),
        _span(5, "child", 41 * MS, 5 * MS, 4),
        _span(6, "outlasts", 95 * MS, 50 * MS, 1),
    ]
    lanes = {e["name"]: e["tid"] for e in _complete(chrome_trace(spans))}
    assert lanes == {"root": 1, "long": 1, "short": 2, "later": 2, "child": 2, "outlasts": 2}


def test_times_are_microseconds_from_the_start_and_events_are_marks() -> None:
    failed = _span(
        2,
        "vae_decode",
        1_500_999,
        2_000_000,
        1,
        status="error",
        attributes={"output_frames": 19, "ratio": math.nan},
        events=[
            {
                "name": "exception",
                "time_ns": T0 + 2 * MS,
                "attributes": {"exception.type": "OutOfMemoryError"},
            }
        ],
    )
    trace = chrome_trace([_span(1, "root", 0, 5 * MS), failed])
    event = _complete(trace)[1]
    assert (event["ts"], event["dur"], event["cat"]) == (1501, 2000, "error")
    assert event["args"]["attributes"] == {"output_frames": 19, "ratio": "nan"}
    (mark,) = (e for e in trace["traceEvents"] if e["ph"] == "i")
    assert (mark["name"], mark["ts"], mark["tid"]) == ("exception", 2000, event["tid"])
    assert trace["otherData"] == {"start_ns": str(T0), "trace_ids": TRACE}


def test_each_gpu_is_a_process_with_its_counters() -> None:
    points = [(T0 + k * 1000 * MS, 90.0 + k) for k in range(-1, 3)]
    gpu = [
        GpuTrack("10", "NVIDIA H100 80GB HBM3", "gpu_utilization_percent", points),
        GpuTrack("2", "NVIDIA H100 80GB HBM3", "gpu_temperature_celsius", [(T0, 60.0), (T0 + MS, math.nan)]),
        GpuTrack("10", "NVIDIA H100 80GB HBM3", "gpu_temperature_celsius", points),
    ]
    trace = chrome_trace([_span(1, "root", 0, 2000 * MS)], gpu)
    names = [(e["pid"], e["args"]["name"]) for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert names == [
        (1, "video-generation worker-1"),
        (2, "GPU 2 NVIDIA H100 80GB HBM3"),
        (3, "GPU 10 NVIDIA H100 80GB HBM3"),
    ]
    counters = [
        (e["pid"], e["name"], e["ts"], e["args"]["value"]) for e in trace["traceEvents"] if e["ph"] == "C"
    ]
    assert counters == [
        (2, "gpu_temperature_celsius", 0, 60),
        *((3, "gpu_temperature_celsius", k * 1_000_000, 90 + k) for k in range(3)),
        *((3, "gpu_utilization_percent", k * 1_000_000, 90 + k) for k in range(3)),
    ]


def test_a_counter_holds_from_before_the_trace_and_ends_with_it() -> None:
    points = [(T0 + seconds * 1000 * MS, float(seconds)) for seconds in (-3, -1, 1, 3)]
    gpu = [GpuTrack("0", "H100", "rushes_gpu_throttled", points, "generate-0", "hw_thermal")]
    trace = chrome_trace([_span(1, "root", 0, 2000 * MS)], gpu)
    counters = [(e["name"], e["ts"], e["args"]["value"]) for e in trace["traceEvents"] if e["ph"] == "C"]
    assert counters == [
        ("rushes_gpu_throttled hw_thermal", 0, -1),
        ("rushes_gpu_throttled hw_thermal", 1_000_000, 1),
    ]


def test_sums_over_modules_say_that_their_place_means_nothing() -> None:
    spans = [
        _span(1, "vae_decode", 0, 100 * MS),
        _span(2, "temporal_upsample", 10 * MS, 60 * MS, 1, attributes={"rushes.aggregated": True}),
        _span(3, "spatial_upsample", 20 * MS, 60 * MS, 1, attributes={"rushes.aggregated": True}),
        _span(4, "failed", 90 * MS, 5 * MS, 1, status="error", attributes={"rushes.aggregated": True}),
    ]
    trace = chrome_trace(spans)
    _assert_nested(trace)
    assert {e["name"]: e["cat"] for e in _complete(trace)} == {
        "vae_decode": "span",
        "temporal_upsample": "sum",
        "spatial_upsample": "sum",
        "failed": "error",
    }


def test_a_trace_that_is_not_there_is_an_empty_one() -> None:
    assert chrome_trace([])["traceEvents"] == []


def test_a_trace_as_large_as_the_store_hands_out_is_no_burden() -> None:
    """Nested to absurd depth, or all at once: the work grows with the spans, not with their square."""
    count = 5_000
    chain = [_span(n, "nested", n * 1000, (2 * count - 2 * n) * 1000, n - 1) for n in range(1, count)]
    crowd = [_span(n, "at once", n, 10**9 + n) for n in range(1, count)]
    for spans in (chain, crowd):
        trace = chrome_trace(spans)
        _assert_nested(trace)
        assert len(_complete(trace)) == len(spans)
