"""What a caller is told of the queue: where a job is in it and when it will begin, or that it is full.

Both come of playing the queue through, with the workers that live and the usual render times.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import sqlalchemy as sa

from rushes.studio.jobs.job import RENDERING, UNFINISHED, WAITING, Job
from rushes.studio.jobs.playing import Slot, Waiting, play
from rushes.studio.jobs.render_times import WORK, read_render_times
from rushes.studio.jobs.schedule import POLICIES, TierPolicy, policy_of
from rushes.studio.jobs.table import jobs
from rushes.studio.jobs.turns import hold_admission, read_turns
from rushes.studio.jobs.workers import WorkerInfo, Workers

__all__ = ["Full", "Outlook", "Place", "QueueFullError"]

_GOOD_FOR_S: Final = 1.0
_UNKNOWN_S: Final = 5.0
_LONGEST_S: Final = 600.0


class Place(NamedTuple):
    """A waiting job's place in the queue, 1 for the next one, and when it will begin (Unix nanoseconds), if known."""

    position: int
    start_ns: int | None


class Full(NamedTuple):
    """A queue that takes no more: how many wait, and in how many seconds there will probably be room."""

    depth: int
    retry_after_s: float


class QueueFullError(Exception):
    """As many jobs wait as may, of the tier or (None) of all tiers."""

    def __init__(self, tier: str | None, depth: int, most: int) -> None:
        super().__init__(f"{depth} videos are waiting, {most} may")
        self.tier: Final = tier
        self.depth: Final = depth
        self.most: Final = most


@dataclass(frozen=True, slots=True)
class _Picture:
    """The queue as it was read."""

    at_ns: int
    tiers: Mapping[str, str]  # of the waiting jobs
    starts: Mapping[str, float]  # seconds from `at_ns`
    timed: bool  # whether the seconds are from measured renders
    places: Mapping[str, int]


class Outlook:
    """What the gateway says of the queue's future; read anew at most once a second. For any thread."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        policies: Mapping[str, TierPolicy] = POLICIES,
        max_queued: int = 1000,
        lease_s: float = 15.0,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        engine: the jobs' database.
        policies: the tiers' weights and limits.
        max_queued: how many jobs of all tiers may wait.
        lease_s: how long a worker may be silent and still counts as living.
        clock: Unix nanoseconds.
        monotonic: seconds that never go back.
        """
        self._engine: Final = engine
        self._policies: Final = policies
        self._max_queued: Final = max_queued
        self._lease_ns: Final = round(lease_s * 1e9)
        self._clock: Final = clock
        self._monotonic: Final = monotonic
        self._lock = threading.Lock()
        self._read: tuple[float, _Picture] | None = None

    def place(self, job: Job) -> Place | None:
        """Where the job is in the queue; None once it is on a worker, or if no worker would take it."""
        if job.state not in WAITING:
            return None
        asked = self._monotonic()
        picture = self._picture()
        if job.id not in picture.tiers:
            picture = self._picture(since=asked)
        position = picture.places.get(job.id)
        if position is None:
            return None
        start = picture.starts[job.id]
        return Place(position, picture.at_ns + round(start * 1e9) if picture.timed else None)

    def full(self, tier: str) -> Full | None:
        """Whether another job of the tier has to be refused now, and when to come again."""
        with self._engine.connect() as conn:
            refusal = self._refusal(conn, tier)
        return None if refusal is None else self.told(refusal)

    def admit(self, conn: sa.Connection, tier: str) -> None:
        """Keeps room for one more job of the tier: nobody else is admitted before this transaction ends.

        Raises:
            QueueFullError: there is none.
        """
        hold_admission(conn)
        if refusal := self._refusal(conn, tier):
            raise refusal

    def told(self, refusal: QueueFullError) -> Full:
        """What to tell whoever was refused."""
        return Full(refusal.depth, self._room_in_s(refusal.tier, refusal.depth - refusal.most + 1))

    def _refusal(self, conn: sa.Connection, tier: str) -> QueueFullError | None:
        query = sa.select(jobs.c.tier, sa.func.count()).where(jobs.c.state.in_(WAITING)).group_by(jobs.c.tier)
        depths = {row.tier: int(row[1]) for row in conn.execute(query)}
        limit, everybody = policy_of(tier, self._policies).max_queued, sum(depths.values())
        for depth, most, of in ((depths.get(tier, 0), limit, tier), (everybody, self._max_queued, None)):
            if most is not None and depth >= most:
                return QueueFullError(of, depth, most)
        return None

    def _room_in_s(self, tier: str | None, places: int) -> float:
        """Seconds until so many of the waiting jobs have begun."""

        def known(picture: _Picture) -> list[float]:
            return sorted(s for job, s in picture.starts.items() if tier in {None, picture.tiers[job]})

        asked = self._monotonic()
        picture = self._picture()
        if len(known(picture)) < places:  # the queue has filled up since
            picture = self._picture(since=asked)
        starts = known(picture)
        if not picture.timed or len(starts) < places:
            return _UNKNOWN_S
        passed = (self._clock() - picture.at_ns) / 1e9
        return min(_LONGEST_S, max(0.0, starts[places - 1] - passed))

    def _picture(self, *, since: float | None = None) -> _Picture:
        """The queue as it was a moment ago, or, with `since`, as it was no earlier than then."""
        with self._lock:
            now = self._monotonic()
            if (
                self._read is None
                or now - self._read[0] >= _GOOD_FOR_S
                or (since is not None and self._read[0] <= since)
            ):
                self._read = now, self._look()
            return self._read[1]

    def _look(self) -> _Picture:
        now = self._clock()
        with self._engine.connect() as conn:
            turns, times = read_turns(conn, "generate"), read_render_times(conn)
            found = conn.execute(_QUERY.order_by(jobs.c.accepted_ns, jobs.c.id)).all()
        waiting, held, timed = [], {}, True
        for row in found:
            seconds = times.seconds(row.model, row.work)
            if row.state in WAITING:
                timed = timed and seconds is not None
                waiting.append(Waiting(row.id, row.tier, 1.0 if seconds is None else seconds))
            elif row.state in RENDERING:
                spent = (now - (row.assigned_ns or now)) / 1e9
                held[row.executor_id] = max(0.0, (seconds or 0.0) - spent), row.tier
        slots = [
            Slot(*held.get(info.executor_id, (0.0, None)), realtime=info.realtime)
            for info in Workers(self._engine).all()
            if self._renders(info, now)
        ]
        starts = play(waiting, turns, slots, policies=self._policies)
        if not slots:  # nobody renders, but there is an order
            timed, starts = False, play(waiting, turns, [Slot(0.0)], policies=self._policies)
        places = {job_id: place for place, job_id in enumerate(starts, start=1)}
        return _Picture(now, {job.job_id: job.tier for job in waiting}, starts, timed, places)

    def _renders(self, info: WorkerInfo, now: int) -> bool:
        living = now - info.seen_ns <= self._lease_ns
        return living and info.role != "encode" and info.state not in {"draining", "offline"}


_QUERY: Final = sa.select(
    jobs.c.id,
    jobs.c.tier,
    jobs.c.model,
    jobs.c.state,
    jobs.c.executor_id,
    jobs.c.assigned_ns,
    WORK,
).where(jobs.c.state.in_(UNFINISHED))
