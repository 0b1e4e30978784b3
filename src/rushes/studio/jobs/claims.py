"""Taking the next job off a queue: chosen and taken in one transaction, one worker after the other.

The queue is the jobs' table itself. A worker first changes the queue's row of turns, and so nobody else chooses
from that queue until this transaction ends; that holds on SQLite, which has one writer anyway, as on PostgreSQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from rushes.studio.jobs import rows
from rushes.studio.jobs.job import RENDERING, Job, JobState
from rushes.studio.jobs.render_times import RenderTimes, read_render_times
from rushes.studio.jobs.schedule import (
    POLICIES,
    Asking,
    Head,
    Idle,
    Queue,
    TierPolicy,
    charge,
    choose,
)
from rushes.studio.jobs.table import jobs, workers
from rushes.studio.jobs.turns import hold_turns, write_turns
from rushes.studio.jobs.workers import BEAT_S, info_of

__all__ = ["Claims", "take"]

_TIMES_ARE_GOOD_S: Final = 5.0
_FRESH_S: Final = 3 * BEAT_S


class _Place(NamedTuple):
    waiting: JobState
    taken: JobState
    column: str


_PLACES: Final[dict[Queue, _Place]] = {
    "encode": _Place(JobState.QUEUED, JobState.ENCODING, "encode_started_ns"),
    "generate": _Place(JobState.WAITING, JobState.ASSIGNED, "assigned_ns"),
}


class Claims:
    """One worker's way to its jobs. May be called from several threads.

    Attributes:
        executor_id: that worker's process, as it is written into the jobs that it takes.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        worker_id: str,
        executor_id: str,
        realtime: bool = False,
        policies: Mapping[str, TierPolicy] = POLICIES,
        patience_s: float = 20.0,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        engine: the jobs' database.
        worker_id: who takes the jobs.
        executor_id: that worker's process.
        realtime: whether it takes realtime jobs only.
        policies: the tiers' weights and limits.
        patience_s: how much younger a job may be that goes before another because its model is in memory.
        clock: Unix nanoseconds.
        monotonic: seconds that never go back.
        """
        self._engine: Final = engine
        self._worker_id: Final = worker_id
        self.executor_id: Final = executor_id
        self._realtime: Final = realtime
        self._policies: Final = policies
        self._patience_ns: Final = round(patience_s * 1e9)
        self._clock: Final = clock
        self._monotonic: Final = monotonic
        self._times = RenderTimes({})
        self._times_read: float | None = None

    def next(self, queue: Queue, warm: Collection[str] = ()) -> Job | None:
        """Takes the job whose turn it is, if there is one for this worker, which has the models `warm` in memory."""
        place = _PLACES[queue]
        now = self._clock()
        with self._engine.connect() as conn:
            # An idle worker looks often: this costs one look into an index.
            some = sa.select(sa.literal(1)).where(jobs.c.state == place.waiting, jobs.c.ready_ns <= now)
            if conn.execute(some.limit(1)).first() is None:
                return None
            self._refresh_times(conn)
        with self._engine.connect() as conn:
            so_far = hold_turns(conn, queue)
            heads = _heads(conn, place.waiting, now)
            head = choose(
                heads,
                so_far,
                asking=Asking(warm, self._realtime),
                others=self._idle(conn, queue, now),
                running=_running(conn) if queue == "generate" else {},
                policies=self._policies,
                now_ns=now,
                patience_ns=self._patience_ns,
            )
            if head is None:
                return None
            job = take(
                conn, queue, head.job_id, worker_id=self._worker_id, executor_id=self.executor_id, at_ns=now
            )
            if job is None:
                return None  # cancelled this moment
            known = self._times.seconds(job.model, job.work) if queue == "generate" else None
            seconds, tiers = 1.0 if known is None else known, {of.tier for of in heads}
            after = charge(so_far, head.tier, tiers, seconds=seconds, policies=self._policies)
            write_turns(conn, queue, after)
            conn.commit()  # without it, nothing was changed
            return job

    def _refresh_times(self, conn: sa.Connection) -> None:
        now = self._monotonic()
        if self._times_read is None or now - self._times_read >= _TIMES_ARE_GOOD_S:
            self._times, self._times_read = read_render_times(conn), now

    def _idle(self, conn: sa.Connection, queue: Queue, now: int) -> list[Idle]:
        """The others that look for a job on this queue."""
        query = sa.select(workers).where(
            workers.c.state == "idle",
            workers.c.role.in_((queue, "all")),
            workers.c.executor_id != self.executor_id,
            workers.c.seen_ns > now - round(_FRESH_S * 1e9),
        )
        found = map(info_of, conn.execute(query))
        return [Idle(frozenset(info.warm), info.realtime, info.since_ns) for info in found]


def take(
    conn: sa.Connection, queue: Queue, job_id: str, *, worker_id: str, executor_id: str, at_ns: int
) -> Job | None:
    """This very job off its queue into a worker's hands, whoever's turn it is; None if it is not on that queue."""
    place = _PLACES[queue]
    started: dict[str, Any] = {place.column: at_ns}
    job = rows.change(
        conn,
        job_id,
        place.taken,
        attempt=jobs.c.attempt + 1,
        worker_id=worker_id,
        executor_id=executor_id,
        **started,
    )
    return None if job is None else rows.with_stages(conn, job)


def _running(conn: sa.Connection) -> dict[str, int]:
    """How many of each tier's jobs are on workers to be rendered."""
    query = (
        sa.select(jobs.c.tier, sa.func.count())
        .where(jobs.c.state.in_(RENDERING))
        .group_by(jobs.c.tier)
        .order_by(jobs.c.tier)
    )
    return {row.tier: int(row[1]) for row in conn.execute(query)}


def _heads(conn: sa.Connection, state: JobState, now: int) -> list[Head]:
    here = sa.and_(jobs.c.state == state, jobs.c.ready_ns <= now)
    of = (jobs.c.tier, jobs.c.model)
    oldest = conn.execute(sa.select(*of, sa.func.min(jobs.c.accepted_ns)).where(here).group_by(*of)).all()
    # Written out, so that both databases look each of them up in the index.
    these = [
        sa.and_(here, jobs.c.tier == tier, jobs.c.model == model, jobs.c.accepted_ns == since)
        for tier, model, since in oldest
    ]
    query = (
        sa.select(jobs.c.id, *of, jobs.c.accepted_ns, jobs.c.ready_ns)
        .where(sa.or_(sa.false(), *these))
        .order_by(jobs.c.id)
    )
    found: dict[tuple[str, str], Head] = {}
    for row in conn.execute(query):
        found.setdefault((row.tier, row.model), Head(*row))
    return list(found.values())
