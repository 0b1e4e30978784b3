"""What was handed to a provider that is paid for each video: noted before it is sent, so that nothing is sent twice.

The note outlives the worker. Whoever takes the job up again fetches what was ordered; where a worker died between
noting and being told the operation's name, nobody can know whether the order arrived, and it is not repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from rushes.studio.jobs.table import operations

if TYPE_CHECKING:
    from rushes.studio.jobs.job import Job


class Operation(NamedTuple):
    """An order. `name` is the provider's for it, None while it is not known whether it arrived."""

    name: str | None


class Operations:
    """The orders of all jobs, in the jobs' database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def of(self, job: Job) -> Operation | None:
        """The job's order; None if nothing was sent for it."""
        with self._engine.connect() as conn:
            row = conn.execute(
                sa.select(operations.c.name).where(operations.c.job_id == job.id)
            ).one_or_none()
        return None if row is None else Operation(row.name)

    def begin(self, job: Job, at_ns: int) -> None:
        """Notes that the order is about to be sent.

        Raises:
            sqlalchemy.exc.IntegrityError: there is a note already; do not send.
        """
        with self._engine.begin() as conn:
            conn.execute(sa.insert(operations).values(job_id=job.id, name=None, begun_ns=at_ns))

    def name(self, job: Job, name: str) -> None:
        """Notes the provider's name of the order."""
        with self._engine.begin() as conn:
            conn.execute(sa.update(operations).where(operations.c.job_id == job.id).values(name=name))

    def forget(self, job: Job) -> None:
        """Takes back the note of an order that was refused."""
        with self._engine.begin() as conn:
            conn.execute(sa.delete(operations).where(operations.c.job_id == job.id))
