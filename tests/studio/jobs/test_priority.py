"""Who goes first: real time before all, the rest by age with a head start for the higher tiers."""

from __future__ import annotations

from rushes.studio.jobs import priority_of
from studio.jobs.bench import Bench

SECOND = 10**9


def test_tiers_at_the_same_time_go_in_order(bench: Bench) -> None:
    now = 1_767_960_000 * SECOND
    tiers = ("realtime", "premium", "standard", "free")
    priorities = [priority_of(bench.accept(tier=tier, accepted_ns=now)) for tier in tiers]
    assert priorities == sorted(set(priorities))
    assert priorities[0] >= 1  # 0 would be "unset" and outrank all


def test_a_free_job_does_not_starve(bench: Bench) -> None:
    now = 1_767_960_000 * SECOND
    free = priority_of(bench.accept(tier="free", accepted_ns=now))
    assert free > priority_of(bench.accept(tier="premium", accepted_ns=now + 1700 * SECOND))
    assert free < priority_of(bench.accept(tier="premium", accepted_ns=now + 1900 * SECOND))


def test_priorities_stay_within_the_queues_limits(bench: Bench) -> None:
    far = 4_000_000_000_000_000_000 // 2  # the year 2033
    assert 1 <= priority_of(bench.accept(tier="free", accepted_ns=far)) < 2**31
    assert priority_of(bench.accept(tier="premium", accepted_ns=0)) > 1
