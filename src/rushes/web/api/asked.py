"""What a request's parameters ask of traces and logs."""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request

from rushes.query import LOG_LEVELS, TRACE_ORDERS, TRACE_STATUSES, LogFilter, SpanFilter
from rushes.web.api.numbers import moment
from rushes.web.parameters import BadParameterError, choice, integer, number, text, trace_id

__all__ = ["LOG_PARAMETERS", "SPAN_PARAMETERS", "log_filter", "moment_ns", "span_filter", "trace_order"]

_MAX_NS: Final = 1 << 62
_MAX_ATTRIBUTES: Final = 20
_SPAN_ID: Final = re.compile(r"[0-9a-fA-F]{16}")
_KINDS: Final = ("internal", "server", "client", "producer", "consumer")

SPAN_PARAMETERS: Final = (
    "service", "name", "kind", "status", "min_duration_ms", "max_duration_ms", "attribute", "model", "tier",
    "request_id", "start", "end", "order",
)  # fmt: skip
"""What a search for traces may be asked."""

LOG_PARAMETERS: Final = (
    "trace_id", "span_id", "level", "min_level", "service", "component", "worker_id", "event", "request_id", "q",
    "since_ns", "start", "end",
)  # fmt: skip
"""What a search in the log, or a live tail, may be asked."""


def moment_ns(request: Request, name: str) -> int | None:
    """A time, as seconds since the epoch or RFC 3339, in nanoseconds since the epoch."""
    value = text(request, name)
    if value is None:
        return None
    try:
        found = round(moment(value) * 1e9)
    except ValueError as error:
        raise BadParameterError(name, value, "seconds since the epoch or a time of RFC 3339") from error
    if not 0 <= found <= _MAX_NS:
        raise BadParameterError(name, value, "a time from 1970 to 2116")
    return found


def span_filter(request: Request) -> SpanFilter:
    """What a search for traces asks."""
    start_ns, end_ns = moment_ns(request, "start"), moment_ns(request, "end")
    return SpanFilter(
        service=text(request, "service"),
        name=text(request, "name"),
        kind=choice(request, "kind", _KINDS),
        status=choice(request, "status", TRACE_STATUSES),
        min_duration_ms=number(request, "min_duration_ms"),
        max_duration_ms=number(request, "max_duration_ms"),
        attributes=_attributes(request),
        model=text(request, "model"),
        tier=text(request, "tier"),
        request_id=text(request, "request_id"),
        start_ns=start_ns,
        end_ns=end_ns,
    )


def trace_order(request: Request) -> str:
    return choice(request, "order", TRACE_ORDERS) or "newest"


def log_filter(request: Request) -> LogFilter:
    """What a search in the log, or a live tail, asks."""
    of_trace, of_span = text(request, "trace_id"), text(request, "span_id")
    if of_span is not None and not _SPAN_ID.fullmatch(of_span):
        raise BadParameterError("span_id", of_span, "16 hex digits")
    return LogFilter(
        trace_id=None if of_trace is None else trace_id(of_trace),
        span_id=None if of_span is None else of_span.lower(),
        level=_level(request, "level"),
        min_level=_level(request, "min_level"),
        service=text(request, "service"),
        component=text(request, "component"),
        worker_id=text(request, "worker_id"),
        event=text(request, "event"),
        request_id=text(request, "request_id"),
        q=text(request, "q"),
        since_ns=integer(request, "since_ns"),
        start_ns=moment_ns(request, "start"),
        end_ns=moment_ns(request, "end"),
    )


def _level(request: Request, name: str) -> str | None:
    value = text(request, name)
    if value is not None and value.upper() not in LOG_LEVELS:
        raise BadParameterError(name, value, f"one of {', '.join(LOG_LEVELS)}")
    return value


def _attributes(request: Request) -> tuple[tuple[str, str | None], ...]:
    """Each `attribute=key=value`, or `attribute=key` for whatever has one."""
    found = []
    for given in request.query_params.getlist("attribute"):
        if not given:  # as forms send it
            continue
        key, equals, value = given.partition("=")
        if not key:
            raise BadParameterError("attribute", given, "a key and a value, such as model=LTX2")
        found.append((key, value if equals else None))
    if len(found) > _MAX_ATTRIBUTES:
        raise BadParameterError("attribute", str(len(found)), f"given at most {_MAX_ATTRIBUTES} times")
    return tuple(found)
