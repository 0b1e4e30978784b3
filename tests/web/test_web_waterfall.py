"""The waterfall's tree, self time and critical path, on tidy traces and on broken ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from rushes.query.traces import SpanRow
from rushes.web.waterfall import critical_path, forest, self_time, trace_view
from web.fakes import Room
from web.rows import add_video, span

TRACE = "c" * 32


def make(name: str, start: int, duration: int, parent: str = "", **changes: object) -> SpanRow:
    row = replace(span(TRACE, name, start, duration, parent), span_id=name)
    return replace(row, **changes)  # type: ignore[arg-type] # names of SpanRow's fields


def path_of(*spans: SpanRow) -> list[tuple[str, int, int]]:
    return critical_path({s.span_id: s for s in spans}, forest(spans)[1])


def test_self_time_is_what_no_child_covers() -> None:
    parent = make("p", 100, 100)
    children = [make("a", 110, 20, "p"), make("b", 120, 30, "p"), make("late", 190, 500, "p")]
    assert self_time(parent, children) == [(100, 110), (150, 190)]


def test_the_critical_path_follows_whatever_ended_last() -> None:
    assert path_of(
        make("root", 0, 100),
        make("short", 10, 20, "root"),
        make("long", 10, 70, "root"),
        make("end", 85, 15, "root"),
    ) == [("root", 0, 10), ("long", 10, 80), ("root", 80, 85), ("end", 85, 100)]


def test_the_critical_path_goes_through_children_of_children() -> None:
    assert path_of(make("root", 0, 10), make("mid", 0, 10, "root"), make("leaf", 4, 6, "mid")) == [
        ("mid", 0, 4),
        ("leaf", 4, 10),
    ]


def test_stages_give_their_colour_to_what_is_inside_them(room: Room) -> None:
    row = add_video(room, "a", room.now_ns, steps=3)
    stages = {s["name"]: s["stage"] for s in trace_view(room.traces.get(row.trace_id))["spans"]}
    assert stages["auth.validate"] == "gateway"
    assert stages["text_encoder.t5xxl"] == "prompt"
    assert stages["safety.pregen"] == "safety"
    assert stages["step_2"] == "dit"
    assert stages["x264.encode"] == "deliver"
    assert stages["video_generation_request"] == "other"


def test_a_span_whose_parent_has_not_come_is_a_root_for_now() -> None:
    view = trace_view([make("child", 5, 5, "absent")])
    assert view["spans"][0]["parent"] is None
    assert view["spans"][0]["start"] == 0


def test_a_span_whose_parent_never_came_lies_under_the_root_and_says_so() -> None:
    view = trace_view(
        [
            make("app", 0, 900),
            make("video_generation_request", 100, 500, "app"),
            make("step_1", 200, 50, "denoising_loop"),
            make("inside", 210, 10, "step_1"),
            make("earlier", 50, 10, "absent"),
            make("later", 2000, 10, "absent"),
        ]
    )
    parents = {s["id"]: s["parent"] for s in view["spans"]}
    assert parents == {
        "app": None,
        "video_generation_request": "app",
        "step_1": "app",
        "inside": "step_1",
        "earlier": "app",
        "later": None,
    }
    missing = {s["id"]: s["missing_parent"] for s in view["spans"] if "missing_parent" in s}
    assert missing == {"step_1": "denoising_loop", "earlier": "absent"}


def test_the_requests_own_root_keeps_orphans_whoever_called_it() -> None:
    view = trace_view(
        [
            make("video_generation_request", 100, 500, "callers"),
            make("step_1", 200, 50, "denoising_loop"),
        ]
    )
    assert [(s["id"], s["parent"]) for s in view["spans"]] == [
        ("video_generation_request", None),
        ("step_1", "video_generation_request"),
    ]


def test_spans_that_point_in_circles_are_drawn() -> None:
    spans = [make("self", 0, 1, "self"), make("a", 0, 9, "b"), make("b", 1, 3, "c"), make("c", 2, 4, "a")]
    view = trace_view(spans)
    assert {s["id"] for s in view["spans"]} == {"self", "a", "b", "c"}
    parents = {s["id"]: s["parent"] for s in view["spans"]}
    for parent in parents.values():
        at, hops = parent, 0
        while at is not None:
            at, hops = parents[at], hops + 1
            assert hops <= len(parents)


def test_a_chain_as_deep_as_a_hostile_trace_makes_it() -> None:
    spans = [make(str(n), n, 20_000 - n, str(n - 1) if n else "") for n in range(5000)]
    assert len(trace_view(spans)["spans"]) == 5000


def test_an_empty_trace() -> None:
    assert trace_view([])["spans"] == []


def test_attributes_come_as_bounded_text() -> None:
    long = make(
        "a", 0, 1, attributes={"n": 3, "list": [1, "x"], "none": None, "long": "y" * 9999, "ok": True}
    )
    attrs = trace_view([long])["spans"][0]["attrs"]
    assert (attrs["n"], attrs["list"], attrs["ok"], attrs["none"]) == ("3", '[1, "x"]', "true", "null")
    assert len(attrs["long"]) == 4000


_IDS = st.sampled_from([f"s{n}" for n in range(8)])
_SPANS = st.lists(
    st.builds(make, _IDS, st.integers(0, 50), st.integers(0, 50), st.one_of(st.just(""), _IDS)),
    max_size=8,
    unique_by=lambda s: s.span_id,
)


@given(_SPANS)
def test_every_span_is_shown_once_and_the_path_is_unbroken(spans: list[SpanRow]) -> None:
    view = trace_view(spans)
    assert sorted(s["id"] for s in view["spans"]) == sorted(s.span_id for s in spans)
    path = view["critical"]
    for (_, _, end), (_, start, _) in pairwise(path):
        assert end == start, "no gap and no overlap"
    roots = [s for s in view["spans"] if s["parent"] is None]
    longest = max((r["dur"] for r in roots), default=0)
    assert sum(end - start for _, start, end in path) == longest
    for row in view["spans"]:
        assert sum(end - start for start, end in row.get("self", [])) == row.get("self_ns", 0) <= row["dur"]


def _sum(name: str, start: int, duration: int, parent: str) -> SpanRow:
    return make(name, start, duration, parent, attributes={"rushes.aggregated": True})


def test_sums_over_modules_lie_on_no_critical_path_and_leave_their_parents_picture() -> None:
    spans = [
        make("vae_decode", 0, 100),
        _sum("temporal_upsample", 10, 30, "vae_decode"),
        _sum("spatial_upsample", 20, 50, "vae_decode"),
    ]
    assert path_of(*spans) == [("vae_decode", 0, 100)]
    vae = trace_view(spans)["spans"][0]
    assert vae["self_ns"] == 20, "what the sums leave, wherever they lie"
    assert "self" not in vae


def test_a_steps_own_time_is_what_none_of_its_modules_took() -> None:
    spans = [make("step_2", 0, 100), _sum("joint_attn", 0, 70, "step_2"), _sum("other", 70, 30, "step_2")]
    assert trace_view(spans)["spans"][0]["self_ns"] == 30
    with_child = [*spans, make("checkpoint.save", 90, 10, "step_2")]
    step = trace_view(with_child)["spans"][0]
    assert step["self"] == [(0, 90)]
    assert path_of(*with_child) == [("step_2", 0, 90), ("checkpoint.save", 90, 100)]
