"""Rows of one request, gathered column by column, since the store takes columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from rushes.ingest.stats import Reason
from rushes.store.interface import Table
from rushes.store.schema import ARROW

__all__ = ["Clockwork", "Columns"]


class Columns:
    """Columns of one table. `append` takes a row's values in the table's own order."""

    def __init__(self, table: Table) -> None:
        self.table: Table = table
        self._schema = ARROW[table]
        self._rows: list[tuple[Any, ...]] = []
        self.append = self._rows.append

    def __len__(self) -> int:
        return len(self._rows)

    def arrow(self) -> Any:
        """The rows as a `pyarrow.Table`; timestamps are integers in the column's own unit."""
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in self._schema)
        return pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)],
            schema=self._schema,
        )


class Clockwork:
    """Which timestamps are acceptable now: not older than retention, not far in the future."""

    def __init__(self, now_ns: int, retention_s: int, future_s: int) -> None:
        self.now_ns = now_ns
        self._oldest = now_ns - retention_s * 1_000_000_000
        self._newest = now_ns + future_s * 1_000_000_000
        self._old = Reason("too_old", f"timestamp older than the retention of {retention_s} s")
        self._future = Reason("in_the_future", f"timestamp more than {future_s} s in the future")

    def complaint(self, ts_ns: int) -> Reason | None:
        """Why this timestamp is refused, or None."""
        if ts_ns < self._oldest:
            return self._old
        if ts_ns > self._newest:
            return self._future
        return None
