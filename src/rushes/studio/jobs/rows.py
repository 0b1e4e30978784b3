"""Rows of the jobs' table as jobs, and the two ways to change one: compare-and-set, by state and by whose it is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from rushes.studio.jobs.job import SOURCES, Job, JobState, Stage
from rushes.studio.jobs.table import jobs, stages

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS: Final = tuple(field.name for field in dataclasses.fields(Job) if field.name != "stages")


def job_of(row: sa.Row[Any], account: Iterable[Stage] = ()) -> Job:
    """A row as a job, with the account of its time where the caller has it."""
    values = {name: getattr(row, name) for name in COLUMNS}
    return Job(**values | {"state": JobState(row.state), "stages": tuple(account)})


def load(conn: sa.Connection, query: sa.Select[Any]) -> list[Job]:
    """The jobs that a query of the jobs' table finds, with their stages."""
    found = conn.execute(query).all()
    accounts = _accounts(conn, [row.id for row in found])
    return [job_of(row, accounts.get(row.id, [])) for row in found]


def with_stages(conn: sa.Connection, job: Job) -> Job:
    """The job with the account of its time."""
    return dataclasses.replace(job, stages=tuple(_accounts(conn, [job.id]).get(job.id, ())))


def change(
    conn: sa.Connection, job_id: str, to: JobState, *, held: Job | None = None, **values: Any
) -> Job | None:
    """Moves a job into a state; as it is afterwards, or None if its state, or whose it is, did not allow it.

    `held` is the job as it was given to the worker that asks; None for those who may change anybody's.
    """
    update = sa.update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(SOURCES[to]))
    if held is not None:
        update = update.where(jobs.c.attempt == held.attempt)
    row = conn.execute(update.values(state=to, **values).returning(*jobs.c)).one_or_none()
    return None if row is None else job_of(row)


def note(conn: sa.Connection, job: Job, **values: Any) -> bool:
    """Changes what is known of a job that is being rendered; False if it is this worker's no more."""
    changed = conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == job.id, jobs.c.state == JobState.GENERATING, jobs.c.attempt == job.attempt)
        .values(**values)
    )
    return changed.rowcount == 1


def media_in_use(conn: sa.Connection, media: str) -> bool:
    """Whether a job has this video or is about to store it."""
    given_up = (JobState.FAILED, JobState.CANCELLED)
    query = sa.select(sa.exists().where(jobs.c.media == media, jobs.c.state.not_in(given_up)))
    return bool(conn.execute(query).scalar_one())


def _accounts(conn: sa.Connection, ids: list[str]) -> dict[str, list[Stage]]:
    if not ids:
        return {}
    found: dict[str, list[Stage]] = {}
    query = (
        sa.select(stages).where(stages.c.job_id.in_(ids)).order_by(stages.c.start_ns, stages.c.end_ns.desc())
    )
    for row in conn.execute(query):
        found.setdefault(row.job_id, []).append(Stage(row.name, row.start_ns, row.end_ns))
    return found
