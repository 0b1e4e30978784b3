"""Log records out of the store, in the specification's format."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from rushes.catalog import EVENTS
from rushes.query.attributes import joined
from rushes.query.log_filter import LogFilter
from rushes.query.otlp import logs_data
from rushes.store.interface import Param, Row, Store

__all__ = ["KeyedRecord", "Logs"]

_NS: Final = 1_000_000_000
_WINDOWS_S: Final = (3_600, 86_400)

# Rows that are alike in everything are one record that was sent twice: the key is the record's name.
_NEWEST: Final = """
SELECT toUnixTimestamp64Nano(ts) AS ns, level, service, component, worker_id, event, request_id,
  body, context, context_typed, trace_id, span_id, rest,%s
  hex(cityHash64(ts, trace_id, span_id, level, service, component, worker_id, event, request_id, body,
    context, context_typed)) AS key
FROM logs WHERE %s ORDER BY toStartOfMinute(ts) DESC, ts DESC LIMIT {limit:UInt32}"""

KeyedRecord: TypeAlias = tuple[str, int, dict[str, Any]]
"""A key that is the record's own, its time in nanoseconds since the epoch, and the record."""

# What only a record that is given back whole has.
_WHOLE: Final = """ severity, severity_text, flags, toUnixTimestamp64Nano(observed_ts) AS observed_ns,
  resource, resource_typed, scope_name, scope_version,"""


class Logs:
    """Reads log records. All methods block.

    Args:
        store: where the records are.
        clock_ns: nanoseconds since the epoch, now.
    """

    def __init__(self, store: Store, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock_ns = clock_ns

    def search(
        self,
        trace_id: str | None = None,
        *,
        level: str | None = None,
        event: str | None = None,
        q: str | None = None,
        request_id: str | None = None,
        since_ns: int | None = None,
        limit: int = 200,
    ) -> list[dict[str, Any]]:
        """The newest `limit` records that fit all conditions, oldest first; see `LogFilter` for what each asks."""
        asked = LogFilter(
            trace_id=trace_id.lower() if trace_id is not None else None,
            level=level,
            event=event,
            q=q,
            request_id=request_id,
            since_ns=since_ns,
        )
        return self.find(asked, limit=limit)

    def find(self, asked: LogFilter, *, limit: int = 200) -> list[dict[str, Any]]:
        """The newest `limit` records that fit, oldest first."""
        return [_record(row) for row in reversed(self._newest(asked, limit))]

    def keyed(self, asked: LogFilter, *, limit: int = 200) -> list[KeyedRecord]:
        """`find`, each record with what tells it from others."""
        return [(row["key"], row["ns"], _record(row)) for row in reversed(self._newest(asked, limit))]

    def otlp_json(self, asked: LogFilter, *, limit: int = 200) -> dict[str, Any]:
        """The same records as OTLP/JSON has them, with everything that came with them."""
        return logs_data(self._newest(asked, limit, _WHOLE)[::-1])

    def _newest(self, asked: LogFilter, limit: int, more: str = "") -> list[Row]:
        rows: list[Row] = []
        now_ns = self._clock_ns()
        # What no index finds is looked for in the newest hours first.
        windows = () if asked.is_narrow else _WINDOWS_S
        for window in (*windows, None):
            within = asked if window is None else replace(asked, start_ns=max(0, now_ns - window * _NS))
            rows = self._distinct(*within.sql(), limit, more)
            if len(rows) >= limit:
                break
        return rows

    def _distinct(self, where: str, params: dict[str, Param], limit: int, more: str) -> list[Row]:
        """The newest rows, each once. The store could tell them apart too, but would read far more for it."""
        asked = limit
        while True:
            rows = self._store.rows(_NEWEST % (more, where), params | {"limit": asked})
            distinct = list({row["key"]: row for row in rows}.values())
            if len(distinct) >= limit or len(rows) < asked:
                return distinct[:limit]
            asked *= 2


def _record(row: Row) -> dict[str, Any]:
    context = joined(row["context"], row["context_typed"])
    if row["body"] and not _says_no_more(row):
        # A record from elsewhere may have an event as well: what it says is in its sentence.
        context = {"body" if "message" in context else "message": _message(row), **context}
    moment = datetime.fromtimestamp(row["ns"] // 1_000_000 / 1000, tz=UTC)
    return {
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": row["level"],
        "service": row["service"],
        "component": row["component"],
        "worker_id": row["worker_id"],
        "event": row["event"],
        "request_id": row["request_id"],
        "context": context,
        "trace_id": row["trace_id"],
        "span_id": row["span_id"],
    }


def _says_no_more(row: Row) -> bool:
    """Whether the body only repeats the event, as it does in our own records: there it is the catalog's sentence."""
    declared = EVENTS.get(row["event"])
    return row["body"] == row["event"] or (declared is not None and row["body"] == declared.message)


def _message(row: Row) -> Any:
    """The body: text, unless it came as a list or a map."""
    if row["body"][:1] in ("[", "{") and "body" in json.loads(row["rest"] or "{}"):
        return json.loads(row["body"])
    return row["body"]
