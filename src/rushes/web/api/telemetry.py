"""Traces, log records and videos over HTTP, for scripts and for the pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from rushes.query import VIDEO_STATUSES, Readers, SpanRow
from rushes.query.gpu_tracks import gpu_tracks
from rushes.query.otlp import traces_data
from rushes.query.perfetto import chrome_trace
from rushes.web.api.answers import Answer, Api, Workers, as_json
from rushes.web.api.asked import LOG_PARAMETERS, SPAN_PARAMETERS, log_filter, span_filter, trace_order
from rushes.web.api.links import trace_links
from rushes.web.api.problems import NotFoundError, endpoint
from rushes.web.parameters import choice, integer, limit, only, text, trace_id

__all__ = ["routes"]

_LOG_FORMATS: Final = ("lines", "otlp")


class _Api:
    """The handlers, each from a request to its answer; they block."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def traces(self, request: Request) -> Answer:
        only(request, *SPAN_PARAMETERS, "limit")
        asked, order = span_filter(request), trace_order(request)
        found = self._readers.traces.find(asked, order=order, limit=limit(request, 50))
        return Answer(as_json({"traces": [asdict(one) for one in found]}))

    def trace(self, request: Request) -> Answer:
        return Answer(as_json(traces_data(self._spans(request))))

    def perfetto(self, request: Request) -> Answer:
        spans = self._spans(request)
        return Answer(
            as_json(chrome_trace(spans, gpu_tracks(spans, self._readers.promql))),
            headers={"content-disposition": f'attachment; filename="{spans[0].trace_id}.perfetto.json"'},
        )

    def links(self, request: Request) -> Answer:
        return Answer(as_json(trace_links(self._spans(request), self._readers)))

    def logs(self, request: Request) -> Answer:
        only(request, *LOG_PARAMETERS, "limit", "format")
        asked, most = log_filter(request), limit(request, 200)
        if choice(request, "format", _LOG_FORMATS) == "otlp":
            return Answer(as_json(self._readers.logs.otlp_json(asked, limit=most)))
        found = self._readers.logs.find(asked, limit=most)
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found)
        return Answer(lines.encode("utf-8", "replace"), media_type="application/x-ndjson")

    def videos(self, request: Request) -> Answer:
        only(request, "limit", "before_ns", "model", "status")
        found = self._readers.videos.list(
            limit=limit(request, 50),
            before_ns=integer(request, "before_ns"),
            model=text(request, "model"),
            status=choice(request, "status", VIDEO_STATUSES),
        )
        return Answer(as_json({"videos": [asdict(one) for one in found]}))

    def video(self, request: Request) -> Answer:
        request_id = str(request.path_params["request_id"])
        found = self._readers.videos.get(request_id)
        if found is None:
            raise NotFoundError(f"no video {request_id[:200]!r} is known")
        return Answer(as_json(asdict(found)))

    def _spans(self, request: Request) -> list[SpanRow]:
        wanted = trace_id(str(request.path_params["trace_id"]))
        found = self._readers.traces.get(wanted)
        if not found:
            raise NotFoundError(f"no trace {wanted} is known")
        return found


def routes(readers: Readers, workers: Workers) -> list[BaseRoute]:
    """Routes under /api/traces, /api/logs and /api/videos."""
    of = _Api(readers)

    def route(path: str, handler: Callable[[Request], Answer], api: Api) -> Route:
        return Route(path, endpoint(handler, api, workers))

    return [
        route("/api/traces", of.traces, "traces"),
        route("/api/traces/{trace_id}", of.trace, "trace"),
        route("/api/traces/{trace_id}/perfetto", of.perfetto, "trace"),
        route("/api/traces/{trace_id}/links", of.links, "trace"),
        route("/api/logs", of.logs, "logs"),
        route("/api/videos", of.videos, "videos"),
        route("/api/videos/{request_id}", of.video, "videos"),
    ]
