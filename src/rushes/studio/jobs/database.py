"""Opening the one database that holds jobs, keys and workers.

Sharing it is what lets a job, its credits and its place in the queue be written in one transaction.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.schema import CreateColumn

# These modules declare their tables in `metadata` when they are imported.
from rushes.studio.cost import table as _compute_table  # noqa: F401
from rushes.studio.jobs.turns import add_turns
from rushes.studio.keys.table import metadata

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

_BUSY_TIMEOUT_MS: Final = 30_000
_ATTEMPTS: Final = 100
_PAUSE_S: Final = 0.05
_KNOCKS: Final = 5
_KNOCK_PAUSE_S: Final = 1.0


class DatabaseUnreachableError(ValueError):
    """No database answers where the settings say that it is."""


def open_database(url: str) -> sa.Engine:
    """Opens the database, makes what is missing in it, and returns its engine; safe in several processes at once.

    Args:
        url: `sqlite:////path/to/studio.sqlite` (its folder is made) or `postgresql://...`.

    Raises:
        ValueError: neither of the two, or SQLite in memory, which no other process could see.
        DatabaseUnreachableError: no database answers there.
    """
    parsed = sa.make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            msg = "the job database must be a file: workers are other processes; give sqlite:////path/to/file"
            raise ValueError(msg)
        path = Path(parsed.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        engine = sa.create_engine(parsed, pool_size=20, max_overflow=0, pool_timeout=30)
        sa.event.listen(engine, "connect", _configure_sqlite)
        _retry(lambda: _use_wal(engine))
    elif backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(parsed, pool_size=20, max_overflow=0, pool_timeout=30, pool_pre_ping=True)
        _knock(engine)
    else:
        msg = f"the job database can be SQLite or PostgreSQL, not {backend!r}"
        raise ValueError(msg)
    _retry(lambda: metadata.create_all(engine))
    _retry(lambda: _add_columns(engine))
    _retry(lambda: _add_indexes(engine))
    _retry(lambda: _add_turns(engine))
    return engine


def _knock(engine: sa.Engine) -> None:
    """A server that is starting is waited for, a little."""
    for attempt in range(_KNOCKS):
        try:
            engine.connect().close()
        except OperationalError as error:
            if attempt == _KNOCKS - 1:
                why = str(error.orig).partition("\n")[0]
                where = engine.url.render_as_string(hide_password=True)
                msg = f"the job database {where} can't be reached ({why}); start it, or change RUSHES_JOBS"
                raise DatabaseUnreachableError(msg) from None
            time.sleep(_KNOCK_PAUSE_S)
        else:
            return


def _add_indexes(engine: sa.Engine) -> None:
    known = sa.inspect(engine)
    for table in metadata.sorted_tables:
        there = {index["name"] for index in known.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in there:
                index.create(engine, checkfirst=True)


def _add_turns(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        add_turns(conn)


def _add_columns(engine: sa.Engine) -> None:
    """What a newer version has added to tables that were there: columns that may be empty or have a default."""
    known = sa.inspect(engine)
    with engine.begin() as conn:
        for table in metadata.sorted_tables:
            there = {column["name"] for column in known.get_columns(table.name)}
            for column in table.columns:
                if column.name not in there:
                    declared = CreateColumn(column).compile(dialect=engine.dialect)
                    conn.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {declared}")


def _configure_sqlite(connection: Any, _record: ConnectionPoolEntry) -> None:
    # The driver begins a transaction before the first change in it; IMMEDIATE takes the write lock there and
    # then, so that a transaction never fails halfway because another process wrote in between.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten


def _use_wal(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        if conn.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
            conn.exec_driver_sql("PRAGMA journal_mode=WAL")


def _retry(action: Any) -> None:
    """Runs what processes that start together do at the same time: only one of them can be first."""
    for attempt in range(_ATTEMPTS):
        try:
            action()
        except (OperationalError, ProgrammingError, IntegrityError):
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
