"""The embedded store: ClickHouse's engine inside this process, one data folder, nothing to start.

chdb's rules shape this module. A session handed between threads returns other threads' results, so each
thread has its own. A forked child hangs, so a store used from another process raises instead. One process
owns the folder: a second one can't even read it.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pyarrow as pa
from chdb import session as engine

from rushes.store import schema
from rushes.store.interface import Param, Row, StoreError, StoreQueryError, StoreUnavailable, Table

__all__ = ["ChdbStore"]

_DAY_S: Final = 86_400
_MAX_RETENTION_S: Final = 30 * 366 * _DAY_S  # the engine's dates end in 2106: beyond them rows expire at once
_Session: Any = engine.Session  # chdb has no types
_SETTINGS = re.compile(r"\bSETTINGS\b[^()]*$")
_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")
# Codes of ClickHouse that say "this statement is wrong", whoever repeats it and whenever.
_DEFECTS: Final = frozenset(
    {6, 10, 15, 16, 20, 27, 33, 36, 38, 41, 42, 43, 44, 46, 47, 53, 60, 62, 70, 117, 130, 352, 386, 456}
)
_READER_DEFECTS: Final = frozenset({72, 427, 457})  # number, regular expression, query parameter
_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
)


class ChdbStore:
    """A `Store` in the folder `path`.

    Args:
        path: the data folder, created if absent, owned by this process until `close`.
        retention_s: seconds that rows are kept.
        max_memory: bytes that the engine may use in all; a single statement gets half of it.
        mark_cache: bytes for the index cache.
        max_query_s: seconds after which a statement is given up.
        threads: threads that one statement may use.

    Raises:
        StoreUnavailable: the folder can't be opened, for instance because another process has it.
        StoreError: the folder was written by a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        retention_s: int = 7 * _DAY_S,
        max_memory: int = 2 << 30,
        mark_cache: int = 64 << 20,
        max_query_s: int = 60,
        threads: int = 2,
    ) -> None:
        if not 1 <= retention_s <= _MAX_RETENTION_S:
            raise ValueError(f"retention must be from 1 to {_MAX_RETENTION_S} seconds, not {retention_s}")
        self._path = path.resolve()
        if "?" in str(self._path):
            raise ValueError(f"the data folder's path can't have a question mark: {self._path}")
        self._retention_s = retention_s
        settings = {
            "max_server_memory_usage": max_memory,
            "mark_cache_size": mark_cache,
            "uncompressed_cache_size": 0,
            "max_memory_usage": max_memory // 2,
            "max_threads": threads,
            "max_insert_threads": 1,
            "max_execution_time": max_query_s,
            "max_partitions_per_insert_block": 4000,
            "materialize_ttl_after_modify": 0,
        }
        self._url = f"{self._path}?{urlencode(settings)}"
        self._pid = os.getpid()
        self._closed = False
        self._local = threading.local()
        self._sessions: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Condition()
        self._running = 0
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Kept for the store's life, so that the engine doesn't stop when other threads end.
            self._first = self._open()
        except OSError as error:
            raise StoreUnavailable(f"the data folder {self._path} can't be created: {error}") from error
        self._local.session = self._first
        try:
            self._migrate()
        except StoreError:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """The data folder."""
        return self._path

    @property
    def retention_s(self) -> int:
        return self._retention_s

    def insert(self, table: Table, rows: Any) -> None:
        if rows.num_rows == 0:
            return
        wanted = schema.ARROW[table]
        if rows.schema.names != wanted.names:
            raise StoreError(f"{table} has the columns {wanted.names}, not {rows.schema.names}")
        # Not the session's send_insert: it reports success when the part couldn't be written (a full disk).
        sql = f"INSERT INTO {table} ({', '.join(wanted.names)}) FROM INFILE %s FORMAT ArrowStream"
        try:
            with _handed_over(rows) as path, self._session() as session:
                session.query(sql % _quoted(path))
        except OSError as error:
            raise StoreUnavailable(f"insert into {table}: {error}") from error
        except RuntimeError as error:
            raise _translated(error, f"insert into {table}") from error

    def query(
        self, sql: str, params: Mapping[str, Param] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        bound = {name: _rendered(value) for name, value in (params or {}).items()}
        if timeout_s is not None:  # the last setting of a statement counts
            sql += f"{',' if _SETTINGS.search(sql) else ' SETTINGS'} max_execution_time = {max(timeout_s, 0.001):.3f}"
        try:
            with self._session() as session:
                data = session.query(sql, "Arrow", params=bound).bytes()
        except RuntimeError as error:
            raise _translated(error, "query") from error
        return pa.ipc.open_file(data).read_all()

    def rows(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        table = self.query(sql, params)
        found: list[Row] = table.to_pylist(maps_as_pydicts="lossy")
        return found

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # A session that is closed under a running statement takes the process with it.
            self._lock.wait_for(lambda: self._running == 0)
            for session in list(self._sessions):
                session.cleanup()

    def _open(self) -> Any:
        try:
            session = _Session(self._url)
        except RuntimeError as error:
            raise StoreUnavailable(
                f"the data folder {self._path} can't be opened; another process may be using it: {error}"
            ) from error
        with self._lock:
            self._sessions.add(session)
        return session

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """This thread's session, kept open while it is in use."""
        if os.getpid() != self._pid:
            raise StoreUnavailable(
                "this store belongs to another process: start processes with spawn, not fork"
            )
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._running += 1
        try:
            session = getattr(self._local, "session", None)
            if session is None:
                session = self._local.session = self._open()
            yield session
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()

    def _statement(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        bound = {name: _rendered(value) for name, value in (params or {}).items()}
        try:
            with self._session() as session:
                session.query(sql, params=bound)
        except RuntimeError as error:
            raise _translated(error, sql.split("(", 1)[0].strip()) from error

    def _migrate(self) -> None:
        self._statement(
            "CREATE TABLE IF NOT EXISTS rushes_schema (version UInt32, applied_at DateTime('UTC')) "
            "ENGINE = MergeTree ORDER BY version SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
        )
        done = int(self.rows("SELECT max(version) AS version FROM rushes_schema")[0]["version"])
        if done > len(schema.MIGRATIONS):
            raise StoreError(
                f"{self._path} has schema version {done}, this version knows {len(schema.MIGRATIONS)}: "
                "use the newer version of rushes that wrote it"
            )
        for version, statements in enumerate(schema.MIGRATIONS[done:], start=done + 1):
            for statement in statements:
                self._statement(statement)
            self._statement(
                "INSERT INTO rushes_schema SELECT {version:UInt32}, now('UTC')", {"version": version}
            )
        self._apply_retention()

    def _apply_retention(self) -> None:
        """Set each table's TTL unless it has it already: an ALTER waits for running merges."""
        created = {
            row["name"]: row["create_table_query"]
            for row in self.rows(
                "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
            )
        }
        for table in schema.TTL_COLUMNS:
            wanted = schema.ttl(table, self._retention_s)
            if f"TTL {wanted} " not in created[table] + " ":
                self._statement(f"ALTER TABLE {table} MODIFY TTL {wanted}")


@contextmanager
def _handed_over(rows: Any) -> Iterator[str]:
    """The path of a file in memory (on disk where there is no such thing) that has the rows."""
    with (
        os.fdopen(os.memfd_create("rushes-insert"), "wb")
        if hasattr(os, "memfd_create")
        else tempfile.NamedTemporaryFile(prefix="rushes-insert-")
    ) as file:
        with pa.ipc.new_stream(file, rows.schema) as writer:
            writer.write_table(rows)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if hasattr(os, "memfd_create") else str(file.name)


def _rendered(value: Param) -> str:
    """A parameter as ClickHouse reads it: text is escaped as in TSV, lists are array literals."""
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, Sequence):
        return f"[{','.join(_quoted(item) if isinstance(item, str) else str(int(item)) for item in value)}]"
    return repr(value)


def _quoted(text: str) -> str:
    escaped = text.translate(_ESCAPES).replace("'", "\\'")
    return f"'{escaped}'"


def _translated(error: RuntimeError, what: str) -> StoreError:
    match = _CODE.search(str(error))
    code = int(match.group(1)) if match else 0
    message = f"{what}: {str(error).strip()[:500]}"
    if code in _READER_DEFECTS:
        return StoreQueryError(message)
    return StoreError(message) if code in _DEFECTS else StoreUnavailable(message)
