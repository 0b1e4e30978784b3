"""What every backend does alike: migrations, retention, what a table holds, what is wrong. Backends move statements."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rushes.store import schema
from rushes.store.dialect import why
from rushes.store.interface import Param, Partition, Row, StoreError, StoreUnavailable, Table
from rushes.store.resident import release_freed

__all__ = ["DAY_S", "SqlStore"]

DAY_S: Final = 86_400
_MAX_RETENTION_S: Final = 30 * 366 * DAY_S  # the engine's dates end in 2106: beyond them rows expire at once


class SqlStore(ABC):
    """A `Store` over an engine that speaks ClickHouse's dialect.

    Args:
        name: what errors call this store; no secrets.
        retention_s: seconds that rows are kept; None leaves that as it is.
        cluster: the ClickHouse cluster whose hosts all keep a replica, None for one host.
        clock: seconds since the epoch, now.
    """

    def __init__(
        self,
        name: str,
        *,
        retention_s: int | None,
        cluster: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if retention_s is not None and not 1 <= retention_s <= _MAX_RETENTION_S:
            raise ValueError(f"retention must be from 1 to {_MAX_RETENTION_S} seconds, not {retention_s}")
        self.name: Final = name
        self._retention_s = retention_s
        self._cluster = cluster
        self._clock = clock
        self._trouble: tuple[float, str] | None = None
        self._trouble_lock = threading.Lock()

    @property
    def retention_s(self) -> int:
        return _MAX_RETENTION_S if self._retention_s is None else self._retention_s

    def insert(self, table: Table, rows: Any) -> None:
        if rows.num_rows == 0:
            return
        wanted = schema.ARROW[table]
        if rows.schema.names != wanted.names:
            raise StoreError(f"{table} has the columns {wanted.names}, not {rows.schema.names}")
        try:
            self._insert(table, rows)
        except StoreUnavailable as error:
            with self._trouble_lock:
                since = self._trouble[0] if self._trouble else self._clock()
                self._trouble = (since, why(error))
            raise
        if self._trouble:
            with self._trouble_lock:
                self._trouble = None

    @abstractmethod
    def query(
        self, sql: str, params: Mapping[str, Param] | None = None, *, timeout_s: float | None = None
    ) -> Any: ...

    @abstractmethod
    def batches(self, sql: str, params: Mapping[str, Param] | None = None) -> Iterator[Any]: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _insert(self, table: Table, rows: Any) -> None: ...

    @abstractmethod
    def _statement(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        """Run a statement that returns nothing."""

    def rows(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        table = self.query(sql, params)
        found: list[Row] = table.to_pylist(maps_as_pydicts="lossy")
        return found

    def partitions(self) -> list[Partition]:
        return [
            Partition(row["table"], row["id"], row["of_rows"], row["of_bytes"], row["of_parts"])
            for row in self.rows(
                "SELECT table, partition_id AS id, sum(rows) AS of_rows, sum(bytes_on_disk) AS of_bytes, "
                "count() AS of_parts FROM system.parts WHERE active AND database = currentDatabase() "
                "GROUP BY table, id ORDER BY table, id"
            )
            if row["table"] in schema.ARROW
        ]

    def memory(self) -> int:
        return int(self.rows("SELECT value FROM system.metrics WHERE metric = 'MemoryTracking'")[0]["value"])

    def release_memory(self) -> None:
        """Give back what this process has freed, which allocators keep otherwise."""
        release_freed()

    def disk_free(self) -> int | None:
        """Bytes that are free where the rows are; None where that is no local disk."""
        free: int | None = self.rows(
            "SELECT minOrNull(free_space) AS free FROM system.disks WHERE type = 'Local'"
        )[0]["free"]
        return free

    def problems(self) -> list[str]:
        trouble = self._trouble
        if trouble is None:
            return []
        since, reason = trouble
        return [
            f"telemetry can't be stored since {datetime.fromtimestamp(since, UTC):%H:%M:%S} UTC: {reason}"
        ]

    def drop(self, partition: Partition) -> None:
        """Drop a partition with all its rows."""
        self._statement(f"ALTER TABLE {partition.table} DROP PARTITION ID '{partition.id}'")

    def hours(self, partition: Partition) -> list[tuple[int, int]]:
        """The hours of a daily partition that have rows, by time: seconds since the epoch, rows."""
        column = schema.TTL_COLUMNS[partition.table]
        return [
            (row["hour"], row["of_rows"])
            for row in self.rows(
                f"SELECT toUInt32(toStartOfHour({column})) AS hour, count() AS of_rows "
                f"FROM {partition.table} WHERE _partition_id = {{id:String}} GROUP BY hour ORDER BY hour",
                {"id": partition.id},
            )
        ]

    def is_cutting(self) -> bool:
        """Whether rows that `cut` removes are still there, because a server needs longer than a statement may take."""
        running = self.rows(
            "SELECT count() AS n FROM system.mutations WHERE database = currentDatabase() AND NOT is_done "
            "AND is_killed = 0 AND has({tables:Array(String)}, table)",
            {"tables": list(schema.TTL_COLUMNS)},
        )
        return bool(running[0]["n"])

    def cut(self, partition: Partition, before_s: int) -> None:
        """Remove the rows of a daily partition that are older than this; what stays is written anew."""
        column = schema.TTL_COLUMNS[partition.table]
        self._statement(
            f"ALTER TABLE {partition.table} DELETE IN PARTITION ID '{partition.id}' "
            f"WHERE {column} < toDateTime({int(before_s)}) SETTINGS mutations_sync = 1"
        )

    def _migrate(self) -> None:
        self._create(schema.VERSIONS)
        done = int(self.rows("SELECT max(version) AS version FROM rushes_schema")[0]["version"])
        if done > len(schema.MIGRATIONS):
            raise StoreError(
                f"{self.name} has schema version {done}, this version knows {len(schema.MIGRATIONS)}: "
                "use the newer version of rushes that wrote it"
            )
        for version, statements in enumerate(schema.MIGRATIONS[done:], start=done + 1):
            for statement in statements:
                self._create(statement)
            self._statement(
                "INSERT INTO rushes_schema SELECT {version:UInt32}, now('UTC')", {"version": version}
            )
        self._apply_retention()

    def _create(self, statement: str) -> None:
        self._statement(schema.for_cluster(statement, self._cluster) if self._cluster else statement)

    def _apply_retention(self) -> None:
        """Set each table's TTL unless it has it already: an ALTER waits for running merges."""
        if self._retention_s is None:
            return
        created = {
            row["name"]: row["create_table_query"]
            for row in self.rows(
                "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
            )
        }
        for table in schema.TTL_COLUMNS.keys() & created.keys():
            wanted = schema.ttl(table, self._retention_s)
            if f"TTL {wanted} " not in created[table] + " ":
                self._statement(f"ALTER TABLE {table} MODIFY TTL {wanted}")
