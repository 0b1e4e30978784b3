"""Which job a worker takes next: decisions on plain values, without a database or a clock.

`realtime` goes before everything. The other tiers share what is left by their weights (stride scheduling): each
has a pass that grows, with every job that is taken, by the job's expected seconds divided by the tier's weight, and
the tier whose pass is smallest is next. A tier that had nothing to do comes back at the pass of those that had: it
neither saves up credit nor waits for the others to catch up, so that none starves and none takes over.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from rushes.catalog import TIERS

Queue = Literal["encode", "generate"]

QUEUES: Final[tuple[Queue, ...]] = ("encode", "generate")

REALTIME: Final = "realtime"

PRIORITIES: Final[Mapping[str, int]] = {tier: rank for rank, tier in enumerate(TIERS, start=1)}
"""The tiers' ranks, as spans tell them; 1 is the first."""

_LEFT_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TierPolicy:
    """What a tier gets: its share of the workers against the others', and its limits (None: no limit).

    Attributes:
        weight: without meaning for `realtime`, which goes first.
        max_queued: how many of its jobs may wait before new ones are refused.
        max_running: how many of its jobs may be on workers at once.
        time_limit_s: how long a job may be on a worker.
    """

    weight: float = 1.0
    max_queued: int | None = None
    max_running: int | None = None
    time_limit_s: float | None = None


POLICIES: Final[Mapping[str, TierPolicy]] = {
    "realtime": TierPolicy(),
    "premium": TierPolicy(weight=8),
    "standard": TierPolicy(weight=4),
    "free": TierPolicy(weight=1),
}
"""What holds where the settings say nothing else."""


class Head(NamedTuple):
    """The job that has waited longest of those of one tier and model. Times are Unix nanoseconds.

    `since_ns`: when it was accepted. `ready_ns`: when it came to this queue.
    """

    job_id: str
    tier: str
    model: str
    since_ns: int
    ready_ns: int


class Asking(NamedTuple):
    """A worker that looks for a job: what it has in memory, and whether it takes realtime jobs only."""

    warm: Collection[str] = frozenset()
    realtime: bool = False


class Idle(NamedTuple):
    """Another worker that looks for a job, and since when (Unix nanoseconds)."""

    warm: Collection[str]
    realtime: bool
    since_ns: int


@dataclass(frozen=True, slots=True)
class Turns:
    """How far each tier has come. `start` is where the tiers are that have waiting jobs: nobody begins before it."""

    start: float = 0.0
    passes: Mapping[str, float] = field(default_factory=dict)

    def of(self, tier: str) -> float:
        """The tier's pass."""
        return max(self.start, self.passes.get(tier, 0.0))

    def after(self, tier: str, cost: float, *, among: Iterable[str]) -> Turns:
        """Once a job of `tier` was taken, of the tiers `among` whom that was decided.

        `cost` is the job's expected seconds divided by the tier's weight.
        """
        start = min(self.of(other) for other in {tier, *among})
        return Turns(start, {**self.passes, tier: self.of(tier) + cost})

    def to_json(self) -> str:
        """As the database keeps it."""
        return json.dumps({"start": self.start, "passes": dict(self.passes)})

    @classmethod
    def from_json(cls, text: str) -> Turns:
        """What `to_json` wrote; `{}` is the beginning."""
        values = json.loads(text)
        return cls(values.get("start", 0.0), values.get("passes", {}))


def in_turn(
    tiers: Iterable[str],
    turns: Turns,
    *,
    realtime: bool,
    running: Mapping[str, int],
    policies: Mapping[str, TierPolicy],
) -> list[str]:
    """The tiers that may have a job taken, the next one first.

    Args:
        tiers: those with waiting jobs.
        turns: how far each has come.
        realtime: whether the worker takes realtime jobs only.
        running: how many of each tier's jobs are on workers.
        policies: the tiers' limits and weights.
    """

    def may(tier: str) -> bool:
        limit = policy_of(tier, policies).max_running
        return (tier == REALTIME or not realtime) and (limit is None or running.get(tier, 0) < limit)

    def turn(tier: str) -> tuple[bool, float, float, str]:
        return tier != REALTIME, turns.of(tier), -policy_of(tier, policies).weight, tier

    return sorted(filter(may, set(tiers)), key=turn)


def choose(
    heads: Collection[Head],
    turns: Turns,
    *,
    asking: Asking,
    others: Collection[Idle] = (),
    running: Mapping[str, int],
    policies: Mapping[str, TierPolicy],
    now_ns: int,
    patience_ns: int,
) -> Head | None:
    """The job that the worker takes; None if there is none for it.

    Within a tier it is the oldest, but one whose model the worker has in memory may go before an older one that
    was accepted at most `patience_ns` earlier. A job is left to an idle worker that has its model in memory when
    this one has not; if that worker does not take it within a second, it is everybody's.
    """

    def left(head: Head) -> bool:
        if head.model in asking.warm:
            return False
        return any(
            head.model in other.warm
            and (head.tier == REALTIME or not other.realtime)
            and now_ns - max(head.ready_ns, other.since_ns) < _LEFT_NS
            for other in others
        )

    mine = [head for head in heads if not left(head)]
    order = in_turn(
        (head.tier for head in mine), turns, realtime=asking.realtime, running=running, policies=policies
    )
    if not order:
        return None
    line = sorted((head for head in mine if head.tier == order[0]), key=_age)
    warm = (h for h in line if h.model in asking.warm and h.since_ns - line[0].since_ns <= patience_ns)
    return next(warm, line[0])


def charge(
    turns: Turns, tier: str, among: Iterable[str], *, seconds: float, policies: Mapping[str, TierPolicy]
) -> Turns:
    """The turns once a job of `seconds` was taken of the tier, `among` whom that was decided."""
    if tier == REALTIME:
        return turns
    return turns.after(tier, seconds / policy_of(tier, policies).weight, among={*among} - {REALTIME})


def policy_of(tier: str, policies: Mapping[str, TierPolicy]) -> TierPolicy:
    """The tier's policy, or that of a tier of which nothing is said."""
    return policies.get(tier) or POLICIES.get(tier) or TierPolicy()


def _age(head: Head) -> tuple[int, str]:
    return head.since_ns, head.job_id
