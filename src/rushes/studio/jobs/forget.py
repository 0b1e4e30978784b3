"""What is deleted is gone from the disk, and ended jobs' prompts go when the settings say so.

SQLite leaves deleted rows in free pages, which `secure_delete` overwrites (see `database`), and older pages in its
write-ahead log, which is cut here. On PostgreSQL a deleted prompt's ciphertext is on the disk until
VACUUM has been there and its page is used anew, and in archived logs for as long as those are kept.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Final

import sqlalchemy as sa

from rushes.studio.jobs.job import TERMINAL
from rushes.studio.jobs.table import jobs, pictures, prompts

__all__ = ["cut_log", "forget_prompts"]

_PATIENCE_S: Final = 1.0


def forget_prompts(engine: sa.Engine, *, ended_before_ns: int) -> int:
    """Deletes the prompts, and pictures, of jobs that ended before then; how many there were."""
    ended = sa.select(jobs.c.id).where(
        jobs.c.state.in_(tuple(TERMINAL)), jobs.c.finished_ns < ended_before_ns
    )
    with engine.begin() as conn:
        conn.execute(sa.delete(pictures).where(pictures.c.job_id.in_(ended)))
        gone = conn.execute(sa.delete(prompts).where(prompts.c.job_id.in_(ended))).rowcount
    if gone:
        cut_log(engine)
    return gone


def cut_log(engine: sa.Engine) -> bool:
    """Empties SQLite's write-ahead log; False if somebody was reading or writing all the while: try again."""
    if engine.dialect.name != "sqlite":
        return True
    # A connection of its own, since the pool's wait much longer for a lock.
    with closing(sqlite3.connect(str(engine.url.database), timeout=_PATIENCE_S)) as conn:
        busy, _, _ = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
