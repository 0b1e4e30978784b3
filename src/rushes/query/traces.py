"""Traces out of the store: one by its id, a list by what its spans are like, one as OTLP/JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rushes.query.attributes import Attributes, joined
from rushes.query.otlp import traces_data
from rushes.query.span_filter import SpanFilter
from rushes.store.interface import Row, Store

__all__ = ["TRACE_ORDERS", "TRACE_STATUSES", "SpanRow", "TraceSummary", "Traces"]

TRACE_STATUSES: Final = ("unset", "ok", "error")

_MAX_SPANS: Final = 50_000
_MAX_OF_SEVERAL: Final = 200_000
_NS: Final = 1_000_000_000
# Newest first without reading everything: most lists are filled by the last hour.
_WINDOWS_S: Final = (3_600, 86_400)

_COLUMNS: Final = """
  trace_id, span_id, parent_span_id, name, service, kind, toUnixTimestamp64Nano(ts) AS start_ns, duration,
  status, status_message, attributes, attributes_typed, resource, resource_typed, events, links,
  trace_state, scope_name, scope_version, flags, rest"""

_ONE: Final = f"""
SELECT {_COLUMNS} FROM spans WHERE trace_id = {{trace_id:String}}
ORDER BY ts, parent_span_id != '', span_id LIMIT 1 BY span_id LIMIT {_MAX_SPANS}"""

_SEVERAL: Final = f"""
SELECT {_COLUMNS} FROM spans WHERE trace_id IN {{ids:Array(String)}}
ORDER BY ts, parent_span_id != '', span_id LIMIT 1 BY trace_id, span_id LIMIT {_MAX_OF_SEVERAL}"""

_ORDERS: Final = {
    "newest": "max(ts) DESC",
    "oldest": "min(ts)",
    "longest": "max(duration) DESC",
    "shortest": "min(duration)",
}
TRACE_ORDERS: Final = tuple(_ORDERS)


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One span. Times are nanoseconds since the epoch, `status` is "unset", "ok" or "error".

    `events` are dicts of `name`, `time_ns` and `attributes`, `links` of `trace_id`, `span_id` and `attributes`; `rest`
    is what else OTLP told, as ingest writes it.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    service: str
    kind: str
    start_ns: int
    duration_ns: int
    status: str
    status_message: str
    attributes: Attributes
    resource: Attributes
    events: list[dict[str, Any]]
    links: list[dict[str, Any]] = field(default_factory=list)
    trace_state: str = ""
    scope_name: str = ""
    scope_version: str = ""
    flags: int = 0
    rest: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace in a list. `status` is "error" if any span failed, else its root's ("" fields: not known)."""

    trace_id: str
    root_name: str
    service: str
    start_ns: int
    duration_ns: int
    span_count: int
    status: str
    request_id: str
    model: str
    tier: str


class Traces:
    """Reads spans. All methods block.

    Args:
        store: where the spans are.
        clock_ns: nanoseconds since the epoch, now.
    """

    def __init__(self, store: Store, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock_ns = clock_ns

    def get(self, trace_id: str) -> list[SpanRow]:
        """The trace's spans by start time, empty when it isn't known."""
        return [_span(row) for row in self._store.rows(_ONE, {"trace_id": trace_id.lower()})]

    def get_all(self, trace_ids: Sequence[str]) -> dict[str, list[SpanRow]]:
        """The spans of several traces by id, each by start time, in the order asked; unknown ones are left out."""
        found: dict[str, list[SpanRow]] = {each.lower(): [] for each in trace_ids}
        if found:
            for row in self._store.rows(_SEVERAL, {"ids": list(found)}):
                found[row["trace_id"]].append(_span(row))
        return {trace_id: spans for trace_id, spans in found.items() if spans}

    def search(
        self,
        service: str | None = None,
        name: str | None = None,
        min_duration_ms: float | None = None,
        status: str | None = None,
        limit: int = 50,
    ) -> list[TraceSummary]:
        """Traces with a span that fits all the given conditions, newest first; see `find` for more of them."""
        asked = SpanFilter(service=service, name=name, min_duration_ms=min_duration_ms, status=status)
        return self.find(asked, limit=limit)

    def find(self, asked: SpanFilter, *, order: str = "newest", limit: int = 50) -> list[TraceSummary]:
        """Traces with a span that fits.

        Args:
            asked: what the span is like.
            order: one of TRACE_ORDERS: by the time, or by the duration, of the spans that fit.
            limit: at most so many traces.
        """
        found = self._summaries(self.ids(asked, order=order, limit=limit))
        return sorted(found, key=lambda one: -one.start_ns) if order == "newest" else found

    def ids(self, asked: SpanFilter, *, order: str = "newest", limit: int = 50) -> list[str]:
        """The ids alone of the traces that `find` tells of."""
        by = _ORDERS[order]
        now_ns = self._clock_ns()
        found: list[str] = []
        windows = _WINDOWS_S if order == "newest" and not asked.is_bounded else ()
        for window in (*windows, None):
            within = asked if window is None else replace(asked, start_ns=max(0, now_ns - window * _NS))
            where, params = within.sql()
            rows = self._store.rows(
                f"SELECT trace_id FROM spans WHERE {where} "
                f"GROUP BY trace_id ORDER BY {by}, trace_id LIMIT {{limit:UInt32}}",
                params | {"limit": limit},
            )
            found = [row["trace_id"] for row in rows]
            if len(found) >= limit:
                break
        return found

    def otlp_json(self, trace_id: str) -> dict[str, Any]:
        """The trace as OTLP/JSON has it: hex ids, 64-bit integers as strings; no spans when unknown."""
        return traces_data(self.get(trace_id))

    def _summaries(self, ids: list[str]) -> list[TraceSummary]:
        if not ids:
            return []
        rows = self._store.rows(
            """
            SELECT trace_id,
              argMin(name, (parent_span_id != '', ts)) AS root_name,
              argMin(service, (parent_span_id != '', ts)) AS root_service,
              argMin(status, (parent_span_id != '', ts)) AS root_status,
              argMin(duration, (parent_span_id != '', ts)) AS root_duration,
              countIf(parent_span_id = '') AS roots,
              min(toUnixTimestamp64Nano(ts)) AS start_ns,
              max(toUnixTimestamp64Nano(ts) + duration) AS end_ns,
              uniqExact(span_id) AS spans,
              countIf(status = 'error') AS errors,
              anyIf(attributes['request_id'], attributes['request_id'] != '') AS request_id,
              argMinIf(attributes['model'], (parent_span_id != '', ts), attributes['model'] != '') AS model,
              argMinIf(attributes['tier'], (parent_span_id != '', ts), attributes['tier'] != '') AS tier
            FROM spans WHERE trace_id IN {ids:Array(String)} GROUP BY trace_id""",
            {"ids": ids},
        )
        found = {row["trace_id"]: _summary(row) for row in rows}
        # A span can be dropped by retention between the two statements.
        return [found[each] for each in ids if each in found]


def _summary(row: Row) -> TraceSummary:
    whole = row["root_duration"] if row["roots"] else row["end_ns"] - row["start_ns"]
    return TraceSummary(
        trace_id=row["trace_id"],
        root_name=row["root_name"],
        service=row["root_service"],
        start_ns=row["start_ns"],
        duration_ns=whole,
        span_count=row["spans"],
        status="error" if row["errors"] else row["root_status"],
        request_id=row["request_id"],
        model=row["model"],
        tier=row["tier"],
    )


def _span(row: Row) -> SpanRow:
    return SpanRow(
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        parent_span_id=row["parent_span_id"],
        name=row["name"],
        service=row["service"],
        kind=row["kind"],
        start_ns=row["start_ns"],
        duration_ns=row["duration"],
        status=row["status"],
        status_message=row["status_message"],
        attributes=joined(row["attributes"], row["attributes_typed"]),
        resource=joined(row["resource"], row["resource_typed"]),
        events=json.loads(row["events"]) if row["events"] else [],
        links=json.loads(row["links"]) if row["links"] else [],
        trace_state=row["trace_state"],
        scope_name=row["scope_name"],
        scope_version=row["scope_version"],
        flags=row["flags"],
        rest=json.loads(row["rest"]) if row["rest"] else {},
    )
