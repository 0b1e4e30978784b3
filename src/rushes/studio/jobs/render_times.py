"""How long a render will take, judged by those of the same model that were delivered last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from rushes.studio.jobs.job import JobState
from rushes.studio.jobs.table import jobs

__all__ = ["WORK", "RenderTimes", "read_render_times"]

_RECENT: Final = 100

WORK: Final = (
    sa.case((jobs.c.steps > 0, jobs.c.steps), else_=1)
    * sa.cast(jobs.c.num_frames, sa.BigInteger)
    * jobs.c.width
    * jobs.c.height
).label("work")
"""`Job.work`, as the database computes it."""


@dataclass(frozen=True, slots=True)
class RenderTimes:
    """Seconds on a worker for each unit of `Job.work`, by model."""

    rates: Mapping[str, float]

    def seconds(self, model: str, work: int) -> float | None:
        """The expected time; None while no video of the model was delivered."""
        rate = self.rates.get(model)
        return None if rate is None else rate * work


def read_render_times(conn: sa.Connection) -> RenderTimes:
    """From the videos delivered last."""
    query = (
        sa.select(jobs.c.model, jobs.c.assigned_ns, jobs.c.finished_ns, WORK)
        .where(jobs.c.state == JobState.COMPLETED, jobs.c.assigned_ns.is_not(None))
        .order_by(jobs.c.finished_ns.desc())
        .limit(_RECENT)
    )
    seconds: dict[str, float] = {}
    work: dict[str, int] = {}
    for row in conn.execute(query):
        seconds[row.model] = seconds.get(row.model, 0.0) + (row.finished_ns - row.assigned_ns) / 1e9
        work[row.model] = work.get(row.model, 0) + row.work
    return RenderTimes({model: spent / work[model] for model, spent in seconds.items()})
