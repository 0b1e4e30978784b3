"""Removing a stored video exactly when no job has it: equal videos share one object, under their content's name.

Between the look and the removal nobody may begin to rely on the object. So whoever removes one holds a lock
meanwhile, and a worker that is about to store (or finds there already) an equal video takes the same lock to say so.
The lock is the kernel's or PostgreSQL's, and falls with whoever holds it; it needs no timeout.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from rushes.studio.jobs import rows
from rushes.studio.keys.table import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Videos of deleted jobs, noted with the deletion: one whose object can't be removed at once is removed later.
unused_media: Final = sa.Table(
    "unused_media",
    metadata,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, index=True),
)


@contextmanager
def alone_with(engine: sa.Engine, name: str) -> Iterator[sa.Connection]:
    """A transaction during which nobody else reserves or removes the video `name`."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as conn:
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))
            yield conn
        return
    # On SQLite a transaction's lock would be everybody's: a slow store must not stop all jobs.
    with Path(f"{engine.url.database}.media-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.begin() as conn:
            yield conn


def note_unused(conn: sa.Connection, job_id: str, name: str) -> None:
    """Notes, in the transaction that deletes a job, that its video may be unused now."""
    conn.execute(sa.insert(unused_media).values(job_id=job_id, name=name))


def remove_unused(engine: sa.Engine, name: str, delete: Callable[[str], None]) -> None:
    """Calls `delete` with the video's name, unless a job has it or is about to store it."""
    with alone_with(engine, name) as conn:
        if not rows.media_in_use(conn, name):
            delete(name)
        conn.execute(sa.delete(unused_media).where(unused_media.c.name == name))


def sweep_unused(engine: sa.Engine, delete: Callable[[str], None]) -> None:
    """Removes what deleted jobs left behind because the store could not be reached or the process died."""
    with engine.connect() as conn:
        left = list(conn.execute(sa.select(unused_media.c.name).distinct()).scalars())
    for name in left:
        remove_unused(engine, name, delete)
