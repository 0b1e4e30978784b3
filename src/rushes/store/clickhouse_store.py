"""The store on a ClickHouse server or cluster, over its HTTP interface: same schema, same statements.

Rows go in and out as Arrow streams, as they do with the embedded engine, so nothing but the way there differs.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx
import pyarrow as pa

from rushes.store.clickhouse_url import ClickHouseUrl
from rushes.store.dialect import bound, limited, translated
from rushes.store.interface import Param, StoreError, StoreUnavailable, Table
from rushes.store.schema import ARROW
from rushes.store.sql_store import DAY_S, SqlStore

__all__ = ["ClickHouseStore"]

_CONNECT_S: Final = 5.0
_GRACE_S: Final = 10.0  # the server ends a statement by itself: this is for a server that is gone
_ERROR_BYTES: Final = 10_000
_UNKNOWN_DATABASE: Final = "81"
_READ: Final = {
    "readonly": "2",  # reads only, settings of a statement allowed
    "default_format": "ArrowStream",
    "output_format_arrow_string_as_string": "1",
    "output_format_arrow_low_cardinality_as_dictionary": "0",
}


class ClickHouseStore(SqlStore):
    """A `Store` in a database of a ClickHouse server.

    With a cluster the tables are replicated on all its hosts; it must have one shard.

    Args:
        url: where it is.
        password: the user's, from a file or the environment.
        retention_s: seconds that rows are kept; None leaves that as it is, for who only reads.
        max_query_s: seconds after which a statement is given up.
        max_connections: how many statements may run at once.
        clock: seconds since the epoch, now.

    Raises:
        StoreUnavailable: the server can't be reached, or refuses the user.
        StoreError: the cluster isn't known there or has several shards, or a newer version wrote the tables.
    """

    def __init__(
        self,
        url: ClickHouseUrl,
        *,
        password: str | None = None,
        retention_s: int | None = 7 * DAY_S,
        max_query_s: int = 60,
        max_connections: int = 32,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(str(url), retention_s=retention_s, cluster=url.cluster, clock=clock)
        self._max_query_s = max_query_s
        headers = {"X-ClickHouse-User": url.user}
        if password:
            headers["X-ClickHouse-Key"] = password
        self._client = httpx.Client(
            base_url=url.base,
            headers=headers,
            params={"database": url.database, "max_partitions_per_insert_block": "4000"},
            timeout=httpx.Timeout(max_query_s + _GRACE_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=max_connections),
            trust_env=False,  # a proxy for the web is none for a database
        )
        try:
            self._prepare(url)
            self._migrate()
        except StoreError:
            self.close()
            raise

    def query(
        self, sql: str, params: Mapping[str, Param] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        given = {**_READ, "max_execution_time": str(self._max_query_s), "wait_end_of_query": "1"}
        with self._sent(limited(sql, timeout_s).encode(), given, params, "query") as reply:
            return pa.ipc.open_stream(reply.read()).read_all()

    def batches(self, sql: str, params: Mapping[str, Param] | None = None) -> Iterator[Any]:
        given = {**_READ, "max_execution_time": "0"}
        with self._sent(sql.encode(), given, params, "query") as reply:
            try:
                yield from pa.ipc.open_stream(io.BufferedReader(_Body(reply)))
            except (pa.ArrowInvalid, OSError) as error:  # what the server writes when it fails on the way
                raise StoreUnavailable(f"query: the rows ended early: {error}") from error

    def close(self) -> None:
        self._client.close()

    def _insert(self, table: Table, rows: Any) -> None:
        names = ARROW[table].names
        body = io.BytesIO()
        with pa.ipc.new_stream(
            body, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")
        ) as writer:
            writer.write_table(rows)
        given = {
            "query": f"INSERT INTO {table} ({', '.join(names)}) FORMAT ArrowStream",
            "async_insert": "0",  # else the reply would come before the rows are kept
            "max_execution_time": str(self._max_query_s),
            "wait_end_of_query": "1",
        }
        with self._sent(body.getvalue(), given, None, f"insert into {table}") as reply:
            reply.read()

    def _statement(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        with self._sent(
            sql.encode(), {"wait_end_of_query": "1"}, params, sql.split("(", 1)[0].strip()
        ) as reply:
            reply.read()

    def _prepare(self, url: ClickHouseUrl) -> None:
        """Make the database, in all replicas, and refuse a cluster that would keep a part of the rows in each."""
        try:
            shards = self.rows(
                "SELECT uniqExact(shard_num) AS n FROM system.clusters WHERE cluster = {cluster:String}",
                {"cluster": url.cluster or ""},
            )[0]["n"]
        except StoreError as error:
            if f"Code: {_UNKNOWN_DATABASE}." not in str(error):
                raise
            everywhere = f" ON CLUSTER '{url.cluster}'" if url.cluster else ""
            with self._sent(
                f"CREATE DATABASE IF NOT EXISTS {url.database}{everywhere}".encode(),
                {"database": "default", "wait_end_of_query": "1"},
                None,
                "CREATE DATABASE",
            ) as reply:
                reply.read()
            self._prepare(url)
            return
        if url.cluster and shards != 1:
            raise StoreError(
                f"{self.name} knows no cluster {url.cluster!r}"
                if not shards
                else f"cluster {url.cluster!r} has {shards} shards: name one whose hosts all keep everything"
            )

    @contextmanager
    def _sent(
        self, body: bytes, given: Mapping[str, str], params: Mapping[str, Param] | None, what: str
    ) -> Iterator[httpx.Response]:
        """The reply to a statement that the server has accepted."""
        query = {**given, **{f"param_{name}": value for name, value in bound(params).items()}}
        try:
            with self._client.stream("POST", "/", params=query, content=body) as reply:
                if reply.status_code != httpx.codes.OK:
                    reply.read()
                    raise translated(reply.text[:_ERROR_BYTES], what)
                yield reply
        except httpx.HTTPError as error:
            raise StoreUnavailable(f"{what}: {self.name} does not answer: {error}") from error
        except RuntimeError as error:  # httpx's word for a client that is closed
            raise StoreUnavailable("the store is closed") from error


class _Body(io.RawIOBase):
    """A reply's bytes as a file, so that they are read as they come."""

    def __init__(self, reply: httpx.Response) -> None:
        self._chunks = reply.iter_bytes()
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
