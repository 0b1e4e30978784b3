"""Traces, log records and videos over HTTP, for scripts and for the pages."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rushes.query.logs import Logs
from rushes.query.traces import Traces
from rushes.query.videos import Videos
from rushes.store.interface import Store, StoreError, StoreUnavailable

__all__ = ["routes"]

_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}\Z")
_MAX_LIMIT: Final = 10_000
_MAX_NS: Final = 1 << 62
_STATUSES: Final = ("unset", "ok", "error")


class _BadParameterError(Exception):
    """A parameter that can't be used."""

    def __init__(self, name: str, value: str, wanted: str) -> None:
        super().__init__(f"parameter {name} must be {wanted}, not {value[:200]!r}")
        self.name = name
        self.value = value[:200]


class _NotFoundError(Exception):
    """There is no such thing."""


def routes(store: Store) -> list[BaseRoute]:
    """Routes under /api/traces, /api/logs and /api/videos."""
    traces, logs, videos = Traces(store), Logs(store), Videos(store)

    def trace(request: Request) -> Response:
        trace_id = _trace_id(str(request.path_params["trace_id"]))
        found = traces.otlp_json(trace_id)
        if not found["resourceSpans"]:
            raise _NotFoundError(f"no trace {trace_id} is known")
        return JSONResponse(found)

    def trace_list(request: Request) -> Response:
        status = _text(request, "status")
        if status is not None and status not in _STATUSES:
            raise _BadParameterError("status", status, f"one of {', '.join(_STATUSES)}")
        found = traces.search(
            service=_text(request, "service"),
            name=_text(request, "name"),
            min_duration_ms=_number(request, "min_duration_ms"),
            status=status,
            limit=_limit(request, 50),
        )
        return JSONResponse({"traces": [asdict(one) for one in found]})

    def log_list(request: Request) -> Response:
        trace_id = _text(request, "trace_id")
        found = logs.search(
            trace_id=None if trace_id is None else _trace_id(trace_id),
            level=_text(request, "level"),
            event=_text(request, "event"),
            q=_text(request, "q"),
            request_id=_text(request, "request_id"),
            since_ns=_integer(request, "since_ns"),
            limit=_limit(request, 200),
        )
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found)
        return Response(lines, media_type="application/x-ndjson")

    def video_list(request: Request) -> Response:
        status = _text(request, "status")
        try:
            found = videos.list(
                limit=_limit(request, 50),
                before_ns=_integer(request, "before_ns"),
                model=_text(request, "model"),
                status=status,
            )
        except ValueError as error:
            raise _BadParameterError("status", status or "", "a state of a video") from error
        return JSONResponse({"videos": [asdict(one) for one in found]})

    def video(request: Request) -> Response:
        request_id = str(request.path_params["request_id"])
        found = videos.get(request_id)
        if found is None:
            raise _NotFoundError(f"no video {request_id[:200]!r} is known")
        return JSONResponse(asdict(found))

    return [
        Route("/api/traces", _endpoint(trace_list)),
        Route("/api/traces/{trace_id}", _endpoint(trace)),
        Route("/api/logs", _endpoint(log_list)),
        Route("/api/videos", _endpoint(video_list)),
        Route("/api/videos/{request_id}", _endpoint(video)),
    ]


def _endpoint(handler: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body: dict[str, Any]
        try:
            return await run_in_threadpool(handler, request)
        except _BadParameterError as error:
            status, body = 400, {"error": str(error), "parameter": error.name, "value": error.value}
        except _NotFoundError as error:
            status, body = 404, {"error": str(error)}
        except StoreUnavailable as error:
            status, body = 503, {"error": str(error)}
        except StoreError as error:
            status, body = 500, {"error": str(error)}
        return JSONResponse(body, status_code=status)

    return endpoint


def _text(request: Request, name: str) -> str | None:
    """A parameter's text; an empty one, as forms send it, is none."""
    return request.query_params.get(name) or None


def _trace_id(text: str) -> str:
    if not _TRACE_ID.match(text):
        raise _BadParameterError("trace_id", text, "32 hex digits")
    return text.lower()


def _integer(request: Request, name: str) -> int | None:
    text = _text(request, name)
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError as error:
        raise _BadParameterError(name, text, "a whole number") from error
    if not 0 <= value <= _MAX_NS:
        raise _BadParameterError(name, text, f"between 0 and {_MAX_NS}")
    return value


def _number(request: Request, name: str) -> float | None:
    text = _text(request, name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise _BadParameterError(name, text, "a number") from error
    if not 0 <= value < 1e12:  # noqa: PLR2004  milliseconds beyond any trace
        raise _BadParameterError(name, text, "a number from 0 to 1e12")
    return value


def _limit(request: Request, default: int) -> int:
    value = _integer(request, "limit")
    if value is None:
        return default
    if not 1 <= value <= _MAX_LIMIT:
        raise _BadParameterError("limit", str(value), f"from 1 to {_MAX_LIMIT}")
    return value
