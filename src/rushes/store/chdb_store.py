"""The embedded store: ClickHouse's engine inside this process, one data folder, nothing to start.

chdb's rules shape this module. A session handed between threads returns other threads' results, so each
thread has its own; one whose statement failed gives the next one what that had written so far, so it is
closed. A forked child hangs, so a store used from another process raises instead. One process owns the
folder: a second one can't even read it.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pyarrow as pa
from chdb import session as engine

from rushes.store import folder
from rushes.store.dialect import bound, limited, quoted, translated
from rushes.store.interface import Param, StoreError, StoreUnavailable, Table
from rushes.store.resident import forget_startup_pages
from rushes.store.schema import ARROW
from rushes.store.sql_store import DAY_S, SqlStore

__all__ = ["ChdbStore"]

_Session: Any = engine.Session  # chdb has no types
_BATCH_ROWS: Final = 1 << 16


class ChdbStore(SqlStore):
    """A `Store` in the folder `path`.

    Args:
        path: the data folder, created if absent, owned by this process until `close`.
        retention_s: seconds that rows are kept; None leaves that as it is, for who only reads.
        max_memory: bytes that the engine may use in all; a single statement gets half of it.
        mark_cache: bytes for the index cache.
        max_query_s: seconds after which a statement is given up.
        threads: threads that one statement may use.
        clock: seconds since the epoch, now.

    Raises:
        StoreUnavailable: the folder can't be opened, for instance because another process has it.
        StoreError: the folder was written by a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        retention_s: int | None = 7 * DAY_S,
        max_memory: int = 2 << 30,
        mark_cache: int = 64 << 20,
        max_query_s: int = 60,
        threads: int = 2,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path.resolve()
        super().__init__(str(self._path), retention_s=retention_s, clock=clock)
        if "?" in str(self._path):
            raise ValueError(f"the data folder's path can't have a question mark: {self._path}")
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
        self._owned = folder.own(self._path)
        try:
            folder.forget_unwritten(self._path)
            # Kept for the store's life, so that the engine doesn't stop when other threads end.
            self._first = self._open()
            self._migrate()
        except OSError as error:
            self.close()
            raise StoreUnavailable(f"the data folder {self._path} can't be used: {error}") from error
        except StoreError:
            self.close()
            raise
        forget_startup_pages()

    @property
    def path(self) -> Path:
        """The data folder."""
        return self._path

    def query(
        self, sql: str, params: Mapping[str, Param] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        try:
            with self._session() as session:
                data = session.query(limited(sql, timeout_s), "Arrow", params=bound(params)).bytes()
        except RuntimeError as error:
            raise translated(error, "query") from error
        return pa.ipc.open_file(data).read_all()

    def batches(self, sql: str, params: Mapping[str, Param] | None = None) -> Iterator[Any]:
        try:
            with self._session():  # counts as a running statement, but is one of a session of its own
                session = self._open()
                try:
                    stream = session.send_query(limited(sql, math.inf), "Arrow", params=bound(params))
                    with stream:
                        yield from stream.record_batch(_BATCH_ROWS)
                finally:
                    session.cleanup()
        except RuntimeError as error:
            raise translated(error, "query") from error

    def release_memory(self) -> None:
        self._statement("SYSTEM JEMALLOC PURGE")
        super().release_memory()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # A session that is closed under a running statement takes the process with it.
            self._lock.wait_for(lambda: self._running == 0)
            for session in list(self._sessions):
                session.cleanup()
        self._owned.close()

    def _insert(self, table: Table, rows: Any) -> None:
        # Not the session's send_insert: it reports success when the part couldn't be written (a full disk).
        sql = f"INSERT INTO {table} ({', '.join(ARROW[table].names)}) FROM INFILE %s FORMAT ArrowStream"
        try:
            with _handed_over(rows) as path, self._session() as session:
                session.query(sql % quoted(path))
        except OSError as error:
            raise StoreUnavailable(f"insert into {table}: {error}") from error
        except RuntimeError as error:
            raise translated(error, f"insert into {table}") from error

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
            try:
                yield session
            except RuntimeError:
                # What a failed statement had written already would stand before the next one's result.
                self._local.session = None
                session.cleanup()
                raise
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()

    def _statement(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        try:
            with self._session() as session:
                session.query(sql, params=bound(params))
        except RuntimeError as error:
            raise translated(error, sql.split("(", 1)[0].strip()) from error


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
