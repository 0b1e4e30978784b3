"""How much is queued, straight from the jobs' rows: one indexed statement, whatever the queue's length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from rushes.studio.jobs.job import JobState
from rushes.studio.jobs.table import jobs

if TYPE_CHECKING:
    from collections.abc import Collection

_STATUS: Final = {
    JobState.QUEUED: "waiting",
    JobState.ENCODING: "waiting",
    JobState.WAITING: "waiting",
    JobState.ASSIGNED: "assigned",
    JobState.GENERATING: "generating",
}
"""The `status` label of `queue_depth_total` for each unfinished state."""

WAITING: Final = tuple(state for state, status in _STATUS.items() if status == "waiting")

_RECENT: Final = 20


class QueueDepth(NamedTuple):
    """One series of `queue_depth_total`."""

    tier: str
    model: str
    status: str
    jobs: int


def read_depth(engine: sa.Engine) -> list[QueueDepth]:
    """Counts of unfinished jobs by tier, model and status; what has none is left out."""
    query = (
        sa.select(jobs.c.state, jobs.c.tier, jobs.c.model, sa.func.count().label("count"))
        .where(jobs.c.state.in_(tuple(_STATUS)))
        .group_by(jobs.c.state, jobs.c.tier, jobs.c.model)
    )
    counts: dict[tuple[str, str, str], int] = {}
    with engine.connect() as conn:
        for state, tier, model, count in conn.execute(query):
            series = (tier, model, _STATUS[JobState(state)])
            counts[series] = counts.get(series, 0) + count
    return [QueueDepth(*series, count) for series, count in sorted(counts.items())]


def count_in(engine: sa.Engine, states: Collection[JobState]) -> int:
    """How many jobs are in any of these states."""
    query = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.state.in_(tuple(states)))
    with engine.connect() as conn:
        return int(conn.execute(query).scalar_one())


def recent_render_seconds(engine: sa.Engine) -> float | None:
    """Mean seconds on a worker of the videos delivered last, None before the first."""
    query = (
        sa.select(jobs.c.assigned_ns, jobs.c.finished_ns)
        .where(jobs.c.state == JobState.COMPLETED, jobs.c.assigned_ns.is_not(None))
        .order_by(jobs.c.finished_ns.desc())
        .limit(_RECENT)
    )
    with engine.connect() as conn:
        spans = [finished - assigned for assigned, finished in conn.execute(query)]
    return sum(spans) / len(spans) / 1e9 if spans else None
