"""A video's story: its stages add up and its failure is told in plain words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rushes.web.story import failure, stages, video_fields, video_story
from web.fakes import Room
from web.rows import MS, add_video, span

NONE = "\N{EN DASH}"


def test_stages_and_the_rest_make_the_whole(room: Room) -> None:
    row = add_video(room, "a", room.now_ns, steps=10)
    shares, total, rest = stages(row, room.traces.get(row.trace_id), room.now_ns)
    assert total == row.duration_ns
    assert sum(s["ns"] for s in shares) + rest == total
    assert [s["name"] for s in shares][:3] == ["Gateway", "Wait for encoding", "Prompt processing"]


def test_overlapping_stages_do_not_count_twice(room: Room) -> None:
    row = replace(add_video(room, "a", 0, steps=1), duration_ns=100)
    t = row.trace_id
    spans = [span(t, "queue_wait", 0, 60), span(t, "queue_wait", 30, 40), span(t, "vae_decode", 50, 30)]
    shares, _, rest = stages(row, spans, 0)
    assert {s["name"]: s["ns"] for s in shares} == {"Queue wait": 70, "VAE decode": 30}
    assert rest == 20


def test_device_time_and_cost_are_shown_where_they_are_known(room: Room) -> None:
    row = add_video(room, "a", room.now_ns, steps=1)
    assert {key: video_story(row, [], room.now_ns)["facts"][key] for key in ("compute", "cost")} == {
        "compute": NONE,
        "cost": NONE,
    }
    row = replace(row, compute_s=42.0, wasted_s=3.5, cost_usd=0.0292)
    facts = video_story(row, [], room.now_ns)["facts"]
    assert (facts["compute"], facts["cost"]) == ("42 s, 3.5 s wasted", "$0.0292")


def test_a_running_video_counts_the_steps_it_has_done(room: Room) -> None:
    row = add_video(room, "a", room.now_ns - 9000 * MS, done=4, step_ms=500)
    shares, total, rest = stages(row, room.traces.get(row.trace_id), room.now_ns)
    inference = next(s for s in shares if s["name"] == "DiT inference")
    assert inference["ns"] > 1900 * MS
    assert total == 9000 * MS
    assert rest >= 0


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("storage", "could not be stored"),
        ("prompt refused by the safety checks", "Prompt refused by the safety checks."),
        ("", "without saying why"),
    ],
)
def test_failures_in_words(room: Room, error: str, words: str) -> None:
    row = replace(add_video(room, "a", room.now_ns, steps=3), error=error, status="failed")
    told = failure(row, [])
    assert words in told["words"]
    assert told["where"] == ""


def test_the_failure_is_placed_at_the_innermost_failed_span(room: Room) -> None:
    row = add_video(room, "a", room.now_ns, steps=10, error="oom")
    told = failure(row, room.traces.get(row.trace_id))
    assert told["where"] == "step_6"
    assert "out of memory" in told["words"]
    assert "2.10 GiB" in told["detail"]


def test_a_row_says_only_what_is_known(room: Room) -> None:
    row = replace(
        add_video(room, "a", room.now_ns - 5000 * MS, done=1),
        step=None,
        total_steps=None,
        resolution="",
        seconds=None,
        model="",
    )
    fields = video_fields(row, room.now_ns)
    assert (fields["steps"], fields["shape"], fields["model"]) == ("", NONE, NONE)
    assert fields["took"] == "5 s"


def test_a_lost_worker_is_told_until_another_goes_on(room: Room) -> None:
    row = add_video(room, "a", room.now_ns - 9000 * MS, done=4, step_ms=500)
    spans = list(room.traces.get(row.trace_id))
    last = max(s.start_ns + s.duration_ns for s in spans)
    lost = span(row.trace_id, "rushes.interrupted", last, 300 * MS)
    told = video_story(row, [*spans, lost], room.now_ns)
    assert told["headline"] == "Its worker was lost; another goes on with it"
    assert {s["name"]: s["ns"] for s in told["stages"]}["Lost with its worker"] == 300 * MS
    again = span(row.trace_id, "step_4", last + 400 * MS, 500 * MS)
    assert video_story(row, [*spans, lost, again], room.now_ns)["headline"].startswith("Generating, step")
