"""Log records out of the store, in the specification's format."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from rushes.query.attributes import joined
from rushes.store.interface import Param, Row, Store

__all__ = ["Logs"]

_NS: Final = 1_000_000_000
_WINDOWS_S: Final = (3_600, 86_400)
_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}

_TEXT_MATCH: Final = """(
  positionCaseInsensitiveUTF8(body, {q:String}) > 0 OR positionCaseInsensitiveUTF8(event, {q:String}) > 0
  OR positionCaseInsensitiveUTF8(context_typed, {q:String}) > 0
  OR arrayExists(v -> positionCaseInsensitiveUTF8(v, {q:String}) > 0, mapValues(context)))"""

_EQUAL: Final = ("trace_id", "level", "event", "request_id")


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
        """The newest `limit` records that fit all conditions, oldest first.

        Args:
            trace_id: 32 hex digits.
            level: exactly this level, in either case.
            event: exactly this event.
            q: a piece of text in the event, the sentence or a value of the context, in either case.
            request_id: exactly this request.
            since_ns: only records after this time (nanoseconds since the epoch).
            limit: at most so many.
        """
        if level is not None:
            level = _LEVELS.get(level.upper(), level.upper())
        asked = {
            "trace_id": trace_id.lower() if trace_id is not None else None,
            "level": level,
            "event": event,
            "request_id": request_id,
        }
        where = [f"{column} = {{{column}:String}}" for column in _EQUAL if asked[column] is not None]
        params: dict[str, Param] = {column: value for column, value in asked.items() if value is not None}
        if q:
            where.append(_TEXT_MATCH)
            params["q"] = q
        if since_ns is not None:
            where.append("ts > fromUnixTimestamp64Nano({since_ns:Int64})")
            params["since_ns"] = since_ns
        params["limit"] = limit
        return [_record(row) for row in reversed(self._newest(where, params, limit))]

    def _newest(self, where: list[str], params: dict[str, Param], limit: int) -> list[Row]:
        rows: list[Row] = []
        now_s = self._clock_ns() // _NS
        # An id finds its few records by index; anything else is looked for in the newest hours first.
        by_id = "trace_id" in params or "request_id" in params or "since_ns" in params
        windows = () if by_id else tuple(now_s - window for window in _WINDOWS_S)
        for from_s in (*windows, None):
            recent = [] if from_s is None else ["ts >= toDateTime({from_s:Int64})"]
            condition = " AND ".join([*where, *recent]) or "1"
            rows = self._store.rows(
                "SELECT toUnixTimestamp64Nano(ts) AS ns, level, service, component, worker_id, event, request_id, "
                "body, context, context_typed, trace_id, span_id "
                f"FROM logs WHERE {condition} "
                "ORDER BY toStartOfMinute(ts) DESC, ts DESC LIMIT {limit:UInt32}",
                params if from_s is None else params | {"from_s": from_s},
            )
            if len(rows) >= limit:
                break
        return rows


def _record(row: Row) -> dict[str, Any]:
    context = joined(row["context"], row["context_typed"])
    if not row["event"] and row["body"]:
        # A record from elsewhere has no event: its sentence is all it says.
        context = {"message": row["body"], **context}
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
