"""The queue played through: when each waiting job will begin, on plain values, without a database or a clock."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rushes.studio.jobs.schedule import TierPolicy, Turns, charge, in_turn

__all__ = ["Slot", "Waiting", "play"]


class Waiting(NamedTuple):
    """A job that waits, and how long it is expected to take."""

    job_id: str
    tier: str
    seconds: float


class Slot(NamedTuple):
    """A worker: seconds until it is free, the tier that it works for until then, and whether it takes realtime only."""

    free_in_s: float
    tier: str | None = None
    realtime: bool = False


def play(
    waiting: Iterable[Waiting], turns: Turns, slots: Iterable[Slot], *, policies: Mapping[str, TierPolicy]
) -> dict[str, float]:
    """Seconds until each job begins, in the order in which they do. Jobs that never would are left out.

    Args:
        waiting: the jobs, the oldest first.
        turns: how far each tier has come.
        slots: the workers.
        policies: the tiers' weights and limits.
    """
    lines: dict[str, deque[Waiting]] = {}
    for job in waiting:
        lines.setdefault(job.tier, deque()).append(job)
    # Of two that are free, the reserved one first.
    ordered = sorted(slots, key=lambda slot: not slot.realtime)
    events = [(slot.free_in_s, number, slot) for number, slot in enumerate(ordered)]
    heapq.heapify(events)
    running: dict[str, int] = {}
    for _, _, slot in events:
        if slot.tier is not None:
            running[slot.tier] = running.get(slot.tier, 0) + 1
    starts: dict[str, float] = {}
    blocked: list[tuple[int, Slot]] = []  # workers for which nothing may be taken until another has ended
    while events and lines:
        now, number, slot = heapq.heappop(events)
        if slot.tier is not None:
            running[slot.tier] -= 1
            for freed, one in blocked:
                heapq.heappush(events, (now, freed, one))
            blocked.clear()
        free = slot._replace(tier=None)
        order = in_turn(lines, turns, realtime=slot.realtime, running=running, policies=policies)
        if not order:
            blocked.append((number, free))
            continue
        tier = order[0]
        job = lines[tier].popleft()
        turns = charge(turns, tier, lines, seconds=job.seconds, policies=policies)
        if not lines[tier]:
            del lines[tier]
        starts[job.job_id] = now
        running[tier] = running.get(tier, 0) + 1
        heapq.heappush(events, (now + job.seconds, number, free._replace(tier=tier)))
    return starts
