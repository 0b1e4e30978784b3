"""What the rest of the control room may know of the store.

Queries and inserts are written against this Protocol, so that the embedded store and a ClickHouse
server can stand in for each other: both speak one SQL dialect over one schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

Table: TypeAlias = Literal["samples", "histograms", "series", "metrics", "exemplars", "spans", "logs"]
Param: TypeAlias = str | int | float | Sequence[str] | Sequence[int]
Row: TypeAlias = dict[str, Any]


class StoreError(Exception):
    """The store refused a statement: a defect of the caller, repeating it won't help."""


class StoreQueryError(StoreError):
    """A reader's own input (a pattern, a parameter) can't be evaluated by the store."""


class StoreUnavailable(StoreError):  # noqa: N818  the name is part of the contract with ingest and web
    """The store can't do it now (disk full, memory or time limit, closed): worth repeating later."""


class StoreTimeout(StoreUnavailable):
    """The statement took longer than it may."""


class StoreExhausted(StoreUnavailable):
    """The statement needs more memory than there is for it."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of a table that can be dropped whole: a day, or all of a table that isn't divided.

    Attributes:
        table: its table.
        id: the engine's id; those of one table sort by time.
        rows: its rows.
        bytes: what they take, compressed, indexes included.
        parts: files' folders that it consists of now.
    """

    table: Table
    id: str
    rows: int
    bytes: int
    parts: int


class Store(Protocol):
    """Columns in, columns out. All methods block and may be called from any thread."""

    @property
    def retention_s(self) -> int:
        """Seconds that rows are kept, counted from their own timestamp."""
        ...

    def insert(self, table: Table, rows: Any) -> None:
        """Append a `pyarrow.Table` whose columns are the table's; durable once this returns.

        An identical batch that was inserted shortly before is dropped, so that a client's repetition
        after a lost reply does no harm.

        Raises:
            StoreUnavailable: nothing was acknowledged, repeat later.
            StoreError: the columns don't fit the table.
        """
        ...

    def query(
        self, sql: str, params: Mapping[str, Param] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        """Run one SELECT and return a `pyarrow.Table`; values travel in `params` as `{name:Type}`.

        `timeout_s` is for this statement; without it, the store's own limit holds.

        Raises:
            StoreQueryError: a parameter can't be evaluated, such as an unusable regular expression.
            StoreUnavailable: a memory or time limit was hit, or the store is closed.
            StoreError: any other refusal.
        """
        ...

    def rows(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        """`query`, as one dict a row; Maps come as dicts, timestamps must be selected as integers."""
        ...

    def batches(self, sql: str, params: Mapping[str, Param] | None = None) -> Iterator[Any]:
        """Run one SELECT and yield its `pyarrow.RecordBatch`es as they come, without a time limit.

        The iterator belongs to the thread that made it, and must be read to its end or closed. Raises as
        `query` does, on the way too: what was yielded before is then not the whole.
        """
        ...

    def partitions(self) -> list[Partition]:
        """What each table holds, by table and time."""
        ...

    def memory(self) -> int:
        """Bytes that the engine has allocated, by its own count."""
        ...

    def problems(self) -> list[str]:
        """What is wrong now, each in words for a page; empty when all is well. Does not block."""
        ...

    def close(self) -> None:
        """Release the files. Further calls raise StoreUnavailable."""
        ...
