"""The queue played through, without a database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rushes.studio.jobs import POLICIES, TierPolicy
from rushes.studio.jobs.playing import Slot, Waiting, play
from rushes.studio.jobs.schedule import Turns


def test_workers_take_the_jobs_as_they_get_free() -> None:
    waiting = [Waiting(name, "free", 10.0) for name in ("a", "b", "c")]
    starts = play(waiting, Turns(), [Slot(0.0), Slot(4.0, "free")], policies=POLICIES)
    assert starts == {"a": 0.0, "b": 4.0, "c": 10.0}


def test_tiers_and_their_limits_are_kept() -> None:
    policies = {**POLICIES, "premium": TierPolicy(weight=8, max_running=1)}
    waiting = [Waiting("f", "free", 5.0), Waiting("p", "premium", 5.0), Waiting("r", "realtime", 1.0)]
    slots = [Slot(0.0), Slot(0.0, realtime=True), Slot(7.0, "premium")]
    assert play(waiting, Turns(), slots, policies=policies) == {"r": 0.0, "f": 0.0, "p": 7.0}


def test_what_nobody_will_take_has_no_start() -> None:
    assert play([Waiting("f", "free", 5.0)], Turns(), [Slot(0.0, realtime=True)], policies=POLICIES) == {}
    assert play([Waiting("f", "free", 5.0)], Turns(), [], policies=POLICIES) == {}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(POLICIES)), st.floats(0.1, 100)), max_size=60),
    st.lists(st.floats(0, 50), min_size=1, max_size=5),
)
def test_all_begin_and_never_more_at_once_than_there_are_workers(
    wanted: list[tuple[str, float]], free_in: list[float]
) -> None:
    waiting = [Waiting(str(n), tier, seconds) for n, (tier, seconds) in enumerate(wanted)]
    starts = play(waiting, Turns(), [Slot(s) for s in free_in], policies=POLICIES)
    assert starts.keys() == {job.job_id for job in waiting}
    assert list(starts.values()) == sorted(starts.values())
    spans = [(starts[job.job_id], starts[job.job_id] + job.seconds) for job in waiting]
    for begun, _ in spans:
        running = sum(a <= begun < b for a, b in spans) + sum(begun < s for s in free_in)
        assert running <= len(free_in)
