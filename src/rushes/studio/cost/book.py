"""The attempts in the database: written by whoever has the job, counted by whoever ends it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rushes.studio.cost.attempt import Attempt
from rushes.studio.cost.table import compute

if TYPE_CHECKING:
    from rushes.studio.cost.attempt import Cause

__all__ = ["Book"]


class Book:
    """The attempts at the jobs of one database. Every method may be called from any thread of any process."""

    def __init__(self, engine: sa.Engine) -> None:
        """`engine` comes from `rushes.studio.jobs.open_database`."""
        self._engine = engine

    def open(self, attempt: Attempt) -> None:
        """Writes an attempt that has begun, or a provider's bill; a second time changes nothing."""
        try:
            with self._engine.begin() as conn:
                conn.execute(sa.insert(compute).values(asdict(attempt)))
        except IntegrityError:
            return

    def reach(self, job_id: str, number: int, end_ns: int) -> None:
        """Notes that an attempt was still at it at `end_ns`. Of a deleted job nothing is noted."""
        self._change(job_id, number, end_ns=end_ns)

    def because(self, job_id: str, number: int, cause: Cause) -> None:
        """Says why an attempt comes to nothing; where nobody says it, a worker was lost (`recovery`)."""
        self._change(job_id, number, cause=cause)

    def resumed(self, job_id: str, saved_ns: int | None) -> None:
        """Notes that a render goes on from what was saved at `saved_ns`; None: from its beginning.

        What earlier attempts did until then was of use, what they did afterwards was not.
        """
        saved = saved_ns or 0
        renders = [a for a in self.attempts(job_id) if a.role == "generate"]
        saver = max((a.number for a in renders if a.start_ns <= saved), default=None)
        for attempt in renders:
            if attempt.number == saver:
                self._change(job_id, attempt.number, kept_ns=saved)
            elif attempt.start_ns > saved:
                self._change(job_id, attempt.number, kept_ns=0)

    def attempts(self, job_id: str) -> list[Attempt]:
        """All attempts at a job, in their order."""
        query = sa.select(compute).where(compute.c.job_id == job_id).order_by(compute.c.number)
        with self._engine.connect() as conn:
            return [Attempt(**row._mapping) for row in conn.execute(query)]  # noqa: SLF001 - a Row's public API

    def take(self, job_id: str) -> list[Attempt]:
        """All attempts at a job; what of them was not told yet is the caller's to tell, and nobody else's."""
        found = self.attempts(job_id)
        if not any(a.untold_s for a in found):
            return found
        with self._engine.begin() as conn:
            return [_take(conn, attempt) for attempt in found]

    def _change(self, job_id: str, number: int, **values: Any) -> None:
        with self._engine.begin() as conn:
            conn.execute(
                sa.update(compute)
                .where(compute.c.job_id == job_id, compute.c.number == number)
                .values(**values)
            )


def _take(conn: sa.Connection, attempt: Attempt) -> Attempt:
    """The attempt, or if somebody else has taken it meanwhile, the attempt as told."""
    taken = conn.execute(
        sa.update(compute)
        .where(
            compute.c.job_id == attempt.job_id,
            compute.c.number == attempt.number,
            compute.c.told_ns == attempt.told_ns,
        )
        .values(told_ns=attempt.end_ns)
    )
    return attempt if taken.rowcount else replace(attempt, told_ns=attempt.end_ns)
