"""What the pages ask of the query layer, as protocols, so that a page can be tested on recorded rows.

The names and shapes are those of `rushes.query`; all methods block, so pages call them in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Logs", "PromQL", "QueryResult", "Series", "Span", "TraceSummary", "Traces", "Video", "Videos"]


class Span(Protocol):
    """A span; times in Unix nanoseconds, `status` one of unset, ok, error."""

    @property
    def trace_id(self) -> str: ...
    @property
    def span_id(self) -> str: ...
    @property
    def parent_span_id(self) -> str | None: ...
    @property
    def name(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def kind(self) -> object: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def duration_ns(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def status_message(self) -> str | None: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...
    @property
    def resource(self) -> Mapping[str, Any]: ...
    @property
    def events(self) -> Sequence[Mapping[str, Any]]: ...


class TraceSummary(Protocol):
    """A trace in a list."""

    @property
    def trace_id(self) -> str: ...
    @property
    def root_name(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def duration_ns(self) -> int: ...
    @property
    def span_count(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def tier(self) -> str | None: ...


class Video(Protocol):
    """A video; what has not come yet is None."""

    @property
    def request_id(self) -> str: ...
    @property
    def trace_id(self) -> str | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def tier(self) -> str | None: ...
    @property
    def status(self) -> str: ...
    @property
    def step(self) -> int | None: ...
    @property
    def total_steps(self) -> int | None: ...
    @property
    def accepted_ns(self) -> int: ...
    @property
    def finished_ns(self) -> int | None: ...
    @property
    def duration_ns(self) -> int | None: ...
    @property
    def resolution(self) -> str | None: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def media(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def attributed_ratio(self) -> float | None: ...


class Series(Protocol):
    """Samples of one label set; times in Unix seconds."""

    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def timestamps(self) -> Iterable[float]: ...
    @property
    def values(self) -> Iterable[float]: ...


class QueryResult(Protocol):
    """The answer to a PromQL expression."""

    @property
    def series(self) -> Sequence[Series]: ...


class Videos(Protocol):
    """Videos by their own id."""

    def list(
        self,
        *,
        limit: int = ...,
        before_ns: int | None = ...,
        model: str | None = ...,
        status: str | None = ...,
    ) -> Sequence[Video]: ...

    def get(self, request_id: str) -> Video | None: ...


class Traces(Protocol):
    """Traces by id and by search."""

    def get(self, trace_id: str) -> Sequence[Span]: ...

    def search(
        self,
        *,
        service: str | None = ...,
        name: str | None = ...,
        min_duration_ms: float | None = ...,
        status: str | None = ...,
        limit: int = ...,
    ) -> Sequence[TraceSummary]: ...


class Logs(Protocol):
    """Log lines in the specification's format."""

    def search(
        self, *, trace_id: str | None = ..., level: str | None = ..., limit: int = ...
    ) -> Sequence[Mapping[str, Any]]: ...


class PromQL(Protocol):
    """Instant and range evaluation; times and steps in seconds."""

    def instant(self, expr: str, time_s: float) -> QueryResult: ...

    def range(self, expr: str, start_s: float, end_s: float, step_s: float) -> QueryResult: ...
