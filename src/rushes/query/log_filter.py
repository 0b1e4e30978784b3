"""Which log records a search, or a live tail, means, as conditions on the `logs` table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rushes.store.interface import Param

__all__ = ["LOG_LEVELS", "LogFilter"]

LOG_LEVELS: Final = {
    "TRACE": 1,
    "DEBUG": 5,
    "INFO": 9,
    "WARN": 13,
    "WARNING": 13,
    "ERROR": 17,
    "FATAL": 21,
    "CRITICAL": 21,
}
"""Levels, Python's names among them, and the lowest severity number that OpenTelemetry gives each."""

_NAMES: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_EQUAL: Final = ("trace_id", "span_id", "level", "service", "component", "worker_id", "event", "request_id")
_TEXT_MATCH: Final = """(
  positionCaseInsensitiveUTF8(body, {q:String}) > 0 OR positionCaseInsensitiveUTF8(event, {q:String}) > 0
  OR positionCaseInsensitiveUTF8(context_typed, {q:String}) > 0
  OR arrayExists(v -> positionCaseInsensitiveUTF8(v, {q:String}) > 0, mapValues(context)))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Conditions that all must hold; None asks nothing.

    Attributes:
        trace_id: 32 hex digits, in lower case.
        span_id: 16 hex digits, in lower case.
        level: exactly this level, in either case.
        min_level: this level or a graver one; a key of LOG_LEVELS, in either case.
        service: exactly this service; likewise the next four.
        q: a piece of text in the event, the sentence or a value of the context, in either case.
        since_ns: only records after this time, in nanoseconds since the epoch.
        start_ns: only records of this time or later.
        end_ns: only records of this time or earlier.
    """

    trace_id: str | None = None
    span_id: str | None = None
    level: str | None = None
    min_level: str | None = None
    service: str | None = None
    component: str | None = None
    worker_id: str | None = None
    event: str | None = None
    request_id: str | None = None
    q: str | None = None
    since_ns: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether an index finds its records, or a time bounds them, so that all may be looked at."""
        given = (self.trace_id, self.request_id, self.since_ns, self.start_ns)
        return any(each is not None for each in given)

    def sql(self) -> tuple[str, dict[str, Param]]:
        """The condition and its parameters.

        Raises:
            KeyError: `min_level` is no level.
        """
        where: list[str] = []
        params: dict[str, Param] = {}
        for column in _EQUAL:
            value = getattr(self, column)
            if value is not None:
                where.append(f"{column} = {{{column}:String}}")
                params[column] = _named(value) if column == "level" else value
        if self.min_level is not None:
            lowest = LOG_LEVELS[self.min_level.upper()]
            # Who sends no number has said its level in words.
            where.append("(severity >= {lowest:UInt8} OR (severity = 0 AND level IN {graver:Array(String)}))")
            params["lowest"] = lowest
            params["graver"] = [name for name, number in LOG_LEVELS.items() if number >= lowest]
        if self.q:
            where.append(_TEXT_MATCH)
            params["q"] = self.q
        for name, comparison in (("since_ns", ">"), ("start_ns", ">="), ("end_ns", "<=")):
            at = getattr(self, name)
            if at is not None:
                where.append(f"ts {comparison} fromUnixTimestamp64Nano({{{name}:Int64}})")
                params[name] = at
        return " AND ".join(where) or "1", params


def _named(level: str) -> str:
    return _NAMES.get(level.upper(), level.upper())
