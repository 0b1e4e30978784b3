"""The rows of turns: how far each queue's tiers have come, and the locks under which one chooses after the other."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from rushes.studio.jobs.schedule import QUEUES, Queue, Turns
from rushes.studio.jobs.table import turns

__all__ = ["add_turns", "hold_admission", "hold_turns", "read_turns", "write_turns"]

_ADMISSION: Final = "admission"  # the row of those who come to the queue
STANDS_STILL_MS: Final = 5_000


def add_turns(conn: sa.Connection) -> None:
    """Makes the rows that are missing."""
    there = set(conn.execute(sa.select(turns.c.queue)).scalars())
    for queue in (*QUEUES, _ADMISSION):
        if queue not in there:
            conn.execute(sa.insert(turns).values(queue=queue, taken=0, passes="{}"))


def read_turns(conn: sa.Connection, queue: Queue) -> Turns:
    """How far the tiers have come."""
    return Turns.from_json(conn.execute(sa.select(turns.c.passes).where(turns.c.queue == queue)).scalar_one())


def hold_turns(conn: sa.Connection, queue: Queue) -> Turns:
    """The turns, which nobody else changes before this transaction ends."""
    _wait_for_nobody_who_stands_still(conn)
    held = sa.update(turns).where(turns.c.queue == queue).values(taken=turns.c.taken + 1)
    return Turns.from_json(conn.execute(held.returning(turns.c.passes)).scalar_one())


def write_turns(conn: sa.Connection, queue: Queue, now: Turns) -> None:
    """How far the tiers have come now; whoever writes it holds the turns."""
    conn.execute(sa.update(turns).where(turns.c.queue == queue).values(passes=now.to_json()))


def hold_admission(conn: sa.Connection) -> None:
    """From here on nobody else comes to the queue before this transaction ends: how long it is stays true."""
    _wait_for_nobody_who_stands_still(conn)
    conn.execute(sa.update(turns).where(turns.c.queue == _ADMISSION).values(taken=turns.c.taken + 1))


def _wait_for_nobody_who_stands_still(conn: sa.Connection) -> None:
    """A process that is stopped at the wrong moment must not keep its turn: PostgreSQL ends its session.

    SQLite knows no such thing.
    """
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {STANDS_STILL_MS}")
