"""What the pages ask of the query layer, as protocols, so that a page can be tested on recorded rows.

Rows are the query layer's own; only who reads them may be another. All methods block, so pages call them in a
thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rushes.query import LogFilter, SpanFilter, SpanRow, TraceSummary, VideoRow
    from rushes.query.promql import QueryResult

__all__ = ["Logs", "PromQL", "Traces", "Videos"]


class Videos(Protocol):
    """Videos by their own id."""

    def list(
        self,
        *,
        limit: int = ...,
        before_ns: int | None = ...,
        model: str | None = ...,
        status: str | None = ...,
    ) -> Sequence[VideoRow]: ...

    def get(self, request_id: str) -> VideoRow | None: ...


class Traces(Protocol):
    """Traces by id and by search."""

    def get(self, trace_id: str) -> Sequence[SpanRow]: ...

    def find(self, asked: SpanFilter, *, order: str = ..., limit: int = ...) -> Sequence[TraceSummary]: ...


class Logs(Protocol):
    """Log lines in the specification's format."""

    def search(
        self, *, trace_id: str | None = ..., level: str | None = ..., limit: int = ...
    ) -> Sequence[Mapping[str, Any]]: ...

    def find(self, asked: LogFilter, *, limit: int = ...) -> Sequence[Mapping[str, Any]]: ...


class PromQL(Protocol):
    """Instant and range evaluation; times and steps in seconds."""

    def instant(self, expr: str, time_s: float) -> QueryResult: ...

    def range(self, expr: str, start_s: float, end_s: float, step_s: float) -> QueryResult: ...
