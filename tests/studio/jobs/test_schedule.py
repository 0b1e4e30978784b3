"""Who is next: realtime first, the rest by weight, warm workers preferred, nobody left waiting for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.studio.jobs.schedule import (
    POLICIES,
    PRIORITIES,
    Asking,
    Head,
    Idle,
    TierPolicy,
    Turns,
    charge,
    choose,
    in_turn,
)

SECOND = 1_000_000_000
PATIENCE_NS = 20 * SECOND
NOW = 1_000 * SECOND


def head(tier: str, model: str = "MOCHI1", *, age_s: float = 100, ready_s: float | None = None) -> Head:
    since = NOW - round(age_s * SECOND)
    ready = since if ready_s is None else NOW - round(ready_s * SECOND)
    return Head(f"{tier}-{model}", tier, model, since, ready)


def pick(heads: list[Head], turns: Turns | None = None, **options: object) -> str | None:
    values: dict[str, object] = {"asking": Asking(), "others": (), "running": {}, "policies": POLICIES}
    chosen = choose(heads, turns or Turns(), now_ns=NOW, patience_ns=PATIENCE_NS, **values | options)  # type: ignore[arg-type]
    return None if chosen is None else chosen.job_id


def test_every_tier_has_a_policy_and_a_priority() -> None:
    assert POLICIES.keys() == PRIORITIES.keys()


def test_realtime_goes_first_whatever_the_passes_are() -> None:
    heads = [head("premium"), head("realtime", age_s=0)]
    assert pick(heads, Turns(0.0, {"realtime": 9.0})) == "realtime-MOCHI1"
    assert pick(heads, asking=Asking(realtime=True)) == "realtime-MOCHI1"
    assert pick(heads[:1], asking=Asking(realtime=True)) is None


def test_the_smallest_pass_is_next_and_at_the_same_the_heavier_tier() -> None:
    heads = [head("free"), head("standard"), head("premium")]
    assert pick(heads) == "premium-MOCHI1"
    assert pick(heads, Turns(0.0, {"premium": 2.0, "standard": 1.0, "free": 1.5})) == "standard-MOCHI1"


def test_a_tier_at_its_limit_waits() -> None:
    policies = {**POLICIES, "premium": TierPolicy(weight=8, max_running=2)}
    heads = [head("premium"), head("free")]
    assert pick(heads, policies=policies, running={"premium": 1}) == "premium-MOCHI1"
    assert pick(heads, policies=policies, running={"premium": 2}) == "free-MOCHI1"
    assert pick(heads[:1], policies=policies, running={"premium": 2}) is None


@pytest.mark.parametrize(("younger_s", "taken"), [(20.0, "LTX2"), (20.1, "MOCHI1")])
def test_a_job_whose_model_is_in_memory_overtakes_within_patience(younger_s: float, taken: str) -> None:
    heads = [head("free", "MOCHI1", age_s=100), head("free", "LTX2", age_s=100 - younger_s)]
    assert pick(heads, asking=Asking(warm={"LTX2"})) == f"free-{taken}"
    assert pick(heads) == "free-MOCHI1"


def test_a_job_is_left_to_an_idle_worker_that_has_its_model_for_a_second() -> None:
    new, old = head("free", ready_s=0.5), head("free", ready_s=1.0)
    warm = Idle({"MOCHI1"}, realtime=False, since_ns=0)
    assert pick([new], others=[warm]) is None
    assert pick([new, head("free", "LTX2")], others=[warm]) == "free-LTX2"
    assert pick([new, head("standard", "LTX2")], others=[warm]) == "standard-LTX2"
    assert pick([new], others=[warm], asking=Asking(warm={"MOCHI1"})) == "free-MOCHI1"
    assert pick([new], others=[warm._replace(realtime=True)]) == "free-MOCHI1"  # it may not take it
    assert pick([old], others=[warm]) == "free-MOCHI1"
    assert (
        pick([old], others=[warm._replace(since_ns=NOW - SECOND // 2)]) is None
    )  # it has only just looked up


def test_the_turns_survive_being_kept() -> None:
    turns = Turns(1.5, {"free": 3.0})
    assert Turns.from_json(turns.to_json()) == turns
    assert Turns.from_json("{}") == Turns()


@dataclass
class Fleet:
    """Workers and lines of jobs, played through second by second with the real decisions."""

    policies: dict[str, TierPolicy]
    workers: int
    turns: Turns = field(default_factory=Turns)
    lines: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # accepted, seconds
    busy: list[tuple[int, str]] = field(default_factory=list)  # until, tier
    started: list[tuple[str, int, int, int]] = field(default_factory=list)  # tier, accepted, started, seconds

    def second(self, now: int) -> None:
        self.busy = [(until, tier) for until, tier in self.busy if until > now]
        while len(self.busy) < self.workers:
            heads = [Head(t, t, "M", line[0][0] * SECOND, 0) for t, line in self.lines.items() if line]
            running = Counter(tier for _, tier in self.busy)
            taken = choose(
                heads,
                self.turns,
                asking=Asking(),
                running=running,
                policies=self.policies,
                now_ns=now * SECOND,
                patience_ns=PATIENCE_NS,
            )
            if taken is None:
                return
            accepted, seconds = self.lines[taken.tier].pop(0)
            self.turns = charge(
                self.turns, taken.tier, {h.tier for h in heads}, seconds=seconds, policies=self.policies
            )
            self.busy.append((now + seconds, taken.tier))
            self.started.append((taken.tier, accepted, now, seconds))


TIERS = ("premium", "standard", "free")
WEIGHTS = st.fixed_dictionaries({tier: st.integers(1, 20) for tier in TIERS})
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(TIERS), st.integers(1, 9)), min_size=1, max_size=80
)


@settings(max_examples=150, deadline=None)
@given(WEIGHTS, ARRIVALS, st.integers(1, 4), st.integers(1, 2))
def test_nobody_starves_and_shares_follow_the_weights(
    weights: dict[str, int], arrivals: list[tuple[int, str, int]], workers: int, limit: int
) -> None:
    policies = {tier: TierPolicy(weight=weight) for tier, weight in weights.items()}
    policies["free"] = TierPolicy(weight=weights["free"], max_running=limit)
    fleet = Fleet(policies, workers)
    longest = max(seconds for _, _, seconds in arrivals)
    total = sum(seconds for _, _, seconds in arrivals)
    for now in range(61 + total + longest):
        for at, tier, seconds in arrivals:
            if at == now:
                fleet.lines.setdefault(tier, []).append((now, seconds))
        fleet.second(now)
    # All of it was done, in each tier in the order of acceptance.
    assert len(fleet.started) == len(arrivals)
    for tier in TIERS:
        mine = [accepted for one, accepted, _, _ in fleet.started if one == tier]
        assert mine == sorted(mine)
    # While two tiers both had jobs waiting all the time, what each got differs from its share by one job at most.
    premium, standard = _always_waiting(fleet, "premium"), _always_waiting(fleet, "standard")
    both = range(max(premium.start, standard.start), min(premium.stop, standard.stop))
    got = {
        tier: sum(s for one, _, began, s in fleet.started if one == tier and began in both) / weights[tier]
        for tier in ("premium", "standard")
    }
    assert (
        abs(got["premium"] - got["standard"]) <= longest / weights["premium"] + longest / weights["standard"]
    )


def _always_waiting(fleet: Fleet, tier: str) -> range:
    """The seconds from the tier's first acceptance on in which it had a job waiting without a break."""
    mine = sorted((accepted, began) for one, accepted, began, _ in fleet.started if one == tier)
    if not mine:
        return range(0)
    reached = mine[0][0]
    for accepted, began in mine:
        if accepted > reached:
            break
        reached = max(reached, began)
    return range(mine[0][0], reached)


def test_a_free_job_is_taken_in_the_midst_of_endless_premium_ones() -> None:
    """Premium jobs of 10 s without end: a free one of weight 1 waits for some eight of them, not for ever."""
    fleet = Fleet(dict(POLICIES), workers=1)
    fleet.lines = {"premium": [(0, 10)] * 1000, "free": []}
    for now in range(500):
        if now == 200:
            fleet.lines["free"] += [(200, 10), (200, 10)]
        fleet.second(now)
    waits = [began - accepted for tier, accepted, began, _ in fleet.started if tier == "free"]
    assert len(waits) == 2
    assert waits[0] <= 20  # an idle tier comes back where the others are
    assert 60 <= waits[1] - waits[0] <= 100


def test_an_idle_tier_saves_up_no_credit() -> None:
    turns = Turns()
    for _ in range(100):
        turns = charge(turns, "premium", ["premium"], seconds=10, policies=POLICIES)
    both = ("premium", "free")
    taken = []
    for _ in range(18):
        tier = in_turn(both, turns, realtime=False, running={}, policies=POLICIES)[0]
        taken.append(tier)
        turns = charge(turns, tier, both, seconds=10, policies=POLICIES)
    assert Counter(taken) == {"premium": 16, "free": 2}
