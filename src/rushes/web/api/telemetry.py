"""Traces, log records and videos over HTTP, for scripts and for the pages."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rushes.query import TRACE_STATUSES, VIDEO_STATUSES, Readers
from rushes.query.gpu_tracks import gpu_tracks
from rushes.query.perfetto import chrome_trace
from rushes.store.interface import StoreError, StoreUnavailable
from rushes.web.parameters import BadParameterError, choice, integer, limit, number, text, trace_id

__all__ = ["routes"]

# as ingest names them, and the two that Python calls otherwise
_LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "WARNING", "CRITICAL")


class _NotFoundError(Exception):
    """There is no such thing."""


def routes(readers: Readers) -> list[BaseRoute]:
    """Routes under /api/traces, /api/logs and /api/videos."""
    traces, logs, videos = readers.traces, readers.logs, readers.videos

    def trace(request: Request) -> Response:
        wanted = trace_id(str(request.path_params["trace_id"]))
        found = traces.otlp_json(wanted)
        if not found["resourceSpans"]:
            raise _NotFoundError(f"no trace {wanted} is known")
        return JSONResponse(found)

    def perfetto(request: Request) -> Response:
        wanted = trace_id(str(request.path_params["trace_id"]))
        spans = traces.get(wanted)
        if not spans:
            raise _NotFoundError(f"no trace {wanted} is known")
        return JSONResponse(
            chrome_trace(spans, gpu_tracks(spans, readers.promql)),
            headers={"content-disposition": f'attachment; filename="{wanted}.perfetto.json"'},
        )

    def trace_list(request: Request) -> Response:
        found = traces.search(
            service=text(request, "service"),
            name=text(request, "name"),
            min_duration_ms=number(request, "min_duration_ms"),
            status=choice(request, "status", TRACE_STATUSES),
            limit=limit(request, 50),
        )
        return JSONResponse({"traces": [asdict(one) for one in found]})

    def log_list(request: Request) -> Response:
        of_trace = text(request, "trace_id")
        found = logs.search(
            trace_id=None if of_trace is None else trace_id(of_trace),
            level=_level(request),
            event=text(request, "event"),
            q=text(request, "q"),
            request_id=text(request, "request_id"),
            since_ns=integer(request, "since_ns"),
            limit=limit(request, 200),
        )
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found)
        return Response(lines, media_type="application/x-ndjson")

    def video_list(request: Request) -> Response:
        found = videos.list(
            limit=limit(request, 50),
            before_ns=integer(request, "before_ns"),
            model=text(request, "model"),
            status=choice(request, "status", VIDEO_STATUSES),
        )
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
        Route("/api/traces/{trace_id}/perfetto", _endpoint(perfetto)),
        Route("/api/logs", _endpoint(log_list)),
        Route("/api/videos", _endpoint(video_list)),
        Route("/api/videos/{request_id}", _endpoint(video)),
    ]


def _level(request: Request) -> str | None:
    value = text(request, "level")
    if value is not None and value.upper() not in _LEVELS:
        raise BadParameterError("level", value, f"one of {', '.join(_LEVELS)}")
    return value


def _endpoint(handler: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body: dict[str, Any]
        try:
            return await run_in_threadpool(handler, request)
        except BadParameterError as error:
            status, body = 400, {"error": str(error), "parameter": error.name, "value": error.value}
        except _NotFoundError as error:
            status, body = 404, {"error": str(error)}
        except StoreUnavailable as error:
            status, body = 503, {"error": str(error)}
        except StoreError as error:
            status, body = 500, {"error": str(error)}
        return JSONResponse(body, status_code=status)

    return endpoint
