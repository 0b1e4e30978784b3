"""How much is queued, straight from the jobs' rows: one indexed statement, whatever the queue's length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from rushes.studio.jobs.job import UNFINISHED, WAITING, JobState
from rushes.studio.jobs.table import jobs

if TYPE_CHECKING:
    from collections.abc import Collection

_STATUS: Final = {
    **dict.fromkeys(WAITING, "waiting"),
    JobState.ASSIGNED: "assigned",
    JobState.GENERATING: "generating",
}
"""The `status` label of `queue_depth_total` for each unfinished state."""


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
        .where(jobs.c.state.in_(UNFINISHED))
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


def read_oldest(engine: sa.Engine) -> dict[tuple[str, bool], int]:
    """When the oldest unfinished job of each tier was accepted (Unix nanoseconds): waiting ones (True), and all."""
    query = (
        sa.select(jobs.c.state, jobs.c.tier, sa.func.min(jobs.c.accepted_ns).label("since"))
        .where(jobs.c.state.in_(UNFINISHED))
        .group_by(jobs.c.state, jobs.c.tier)
    )
    oldest: dict[tuple[str, bool], int] = {}
    with engine.connect() as conn:
        for state, tier, since in conn.execute(query):
            of = [(tier, False)] + ([(tier, True)] if JobState(state) in WAITING else [])
            for key in of:
                oldest[key] = min(since, oldest.get(key, since))
    return oldest
