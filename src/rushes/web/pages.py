"""The control room's pages. Each answers with what is stored now; a live stream then keeps it up to date."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rushes.catalog import MODELS
from rushes.dashboards import OPERATIONS
from rushes.query import VIDEO_STATUSES
from rushes.web import numbers, parameters, timerange
from rushes.web.gpu import GpuWatch, gpu_view
from rushes.web.media import media_response
from rushes.web.panels import PanelEvaluator, declaration
from rushes.web.searches import Searches
from rushes.web.silence import Silence
from rushes.web.story import iso, video_fields, video_story
from rushes.web.streams import OperationsFeed, TraceFeed, VideoFeed, VideosFeed, log_lines, stream
from rushes.web.waterfall import trace_view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.templating import Jinja2Templates

    from rushes.query import SpanRow, VideoRow
    from rushes.web.facades import Logs, PromQL, Traces, Videos
    from rushes.web.live import Live
    from rushes.web.media import MediaStore

__all__ = ["Pages"]

_ROWS: Final = 100
_OPERATIONS_S: Final = 5.0
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_VIDEO_ID: Final = re.compile(r"video_[0-9a-f]{32}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_LOOK_AGAIN: Final = {"refresh": "2"}
_NOT_YET: Final = (
    "It may not have arrived yet: this page looks again every 2 seconds. Or its retention has passed"
)
_NAME: Final = re.compile(r"[\w.:/ -]{1,128}")


class Pages:
    """The endpoints of pages, live streams and media, over the query facades."""

    def __init__(
        self,
        *,
        videos: Videos,
        traces: Traces,
        logs: Logs,
        promql: PromQL,
        media: MediaStore | None,
        live: Live,
        templates: Jinja2Templates,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._videos = videos
        self._traces = traces
        self._logs = logs
        self._media = media
        self._live = live
        self._templates = templates
        self._clock_ns = clock_ns
        self._promql = promql
        self._panels = PanelEvaluator(promql)
        self._silence = Silence(logs, clock_ns)
        self._searches = Searches(traces, logs, templates, clock_ns)

    def routes(self) -> list[BaseRoute]:
        """The routes to mount at the root."""
        return [
            Route("/", self.operations),
            Route("/videos", self.videos),
            Route("/videos/{request_id}", self.video),
            Route("/traces", self._searches.traces),
            Route("/traces/{trace_id}", self.trace),
            Route("/logs", self._searches.logs),
            Route("/explore", self._searches.explore),
            Route("/find", self.find),
            Route("/media/{name:path}", self.media),
            Route("/live/operations", self.live_operations),
            Route("/live/videos", self.live_videos),
            Route("/live/videos/{request_id}", self.live_video),
            Route("/live/traces/{trace_id}", self.live_trace),
        ]

    async def operations(self, request: Request) -> Response:
        """The specification's Operations dashboard."""
        over = self._range(request)
        data = await run_in_threadpool(self._panels.dashboard, OPERATIONS, over)
        panels = {panel.id: declaration(panel, over) for panel in OPERATIONS.panels}
        return self._page(
            request,
            "operations.html",
            "operations",
            dashboard=OPERATIONS,
            over=over,
            ranges=list(timerange.RELATIVE),
            data={
                "panels": panels,
                "data": data,
                "start": over.start_s,
                "end": over.end_s,
                "live": bool(over.name),
            },
        )

    async def videos(self, request: Request) -> Response:
        """The list of videos."""
        model, status = self._filters(request)
        before_ns = parameters.integer(request, "before_ns")

        def read() -> tuple[Sequence[VideoRow], list[dict[str, Any]]]:
            found = self._videos.list(limit=_ROWS, before_ns=before_ns, model=model, status=status)
            now_ns = self._clock_ns()
            return found, [video_fields(video, now_ns, self._silence.since(video)) for video in found]

        found, rows = await run_in_threadpool(read)
        return self._page(
            request,
            "videos.html",
            "videos",
            rows=rows,
            models=MODELS,
            statuses=VIDEO_STATUSES,
            model=model or "",
            status=status or "",
            before=before_ns is not None,
            older=found[-1].accepted_ns if len(found) == _ROWS else None,
        )

    async def video(self, request: Request) -> Response:
        """A video: player, story, waterfall, steps, GPUs, log."""
        video = await self._find_video(request)

        def read() -> dict[str, Any]:
            spans = self._traces.get(video.trace_id) if video.trace_id else ()
            return {
                "video": video_story(video, spans, self._clock_ns(), self._silence.since(video)),
                **self._strips(spans, video.trace_id),
            }

        data = await run_in_threadpool(read)
        data["accepted_ms"] = video.accepted_ns // 1_000_000
        return self._page(request, "video.html", "videos", video=data["video"], data=data)

    async def trace(self, request: Request) -> Response:
        """Any trace: waterfall, steps, GPUs, log."""
        trace_id = self._trace_id(request)

        def read() -> dict[str, Any]:
            return self._strips(self._traces.get(trace_id), trace_id)

        data = await run_in_threadpool(read)
        if not data["trace"]["spans"] and not data["logs"]:
            raise HTTPException(404, f"there is no trace {trace_id}. {_NOT_YET}", _LOOK_AGAIN)
        return self._page(
            request, "trace.html", "traces", trace_id=trace_id, data=data, **_about(data["trace"])
        )

    async def find(self, request: Request) -> Response:
        """Goes to the page of an id, whichever kind it is of."""
        text = request.query_params.get("q", "").strip()
        if _TRACE_ID.fullmatch(text.lower()):
            return RedirectResponse(f"/traces/{text.lower()}", 303)
        if _REQUEST_ID.fullmatch(text):
            return RedirectResponse(f"/videos/{text}", 303)
        if not text:
            raise HTTPException(404, "there is nothing to look for: give the id of a video or of a trace")
        raise HTTPException(404, f"{text[:40]!r} is neither a trace id nor a video's id")

    async def media(self, request: Request) -> Response:
        """A stored video's bytes."""
        return await media_response(self._media, request.path_params["name"], request)

    async def live_operations(self, request: Request) -> Response:
        """Panels that change; starts with the first news, as the page brings its own first data."""
        self._range(request)  # refuses a bad range now rather than in the stream
        feed = OperationsFeed(self._panels, OPERATIONS, lambda: self._range(request))
        return stream(
            self._live,
            feed,
            min_interval_s=_OPERATIONS_S,
            baseline=request.query_params.get("baseline") == "1",
        )

    async def live_videos(self, request: Request) -> Response:
        """Rows that change."""
        model, status = self._filters(request)
        feed = VideosFeed(
            self._videos, self._clock_ns, self._silence, model=model, status=status, limit=_ROWS
        )
        return stream(self._live, feed)

    async def live_video(self, request: Request) -> Response:
        """A video's story, trace and log as they grow."""
        video = await self._find_video(request)
        trace = self._trace_feed(video.trace_id) if video.trace_id else None
        feed = VideoFeed(
            self._videos, trace, self._traces, video.request_id, self._clock_ns, silence=self._silence
        )
        return stream(self._live, feed, trace_id=video.trace_id)

    async def live_trace(self, request: Request) -> Response:
        """A trace and its log as they grow."""
        trace_id = self._trace_id(request)
        return stream(self._live, self._trace_feed(trace_id), trace_id=trace_id)

    def _strips(self, spans: Sequence[SpanRow], trace_id: str) -> dict[str, Any]:
        """What the strips on the trace's axis show; blocks."""
        view = trace_view(spans)
        return {
            "trace": view,
            "gpu": gpu_view(spans, self._promql, int(view["origin_ns"])),
            "logs": log_lines(self._logs, trace_id) if trace_id else [],
        }

    def _trace_feed(self, trace_id: str) -> TraceFeed:
        return TraceFeed(self._traces, self._logs, trace_id, GpuWatch(self._promql, self._clock_ns))

    def _page(self, request: Request, template: str, page: str, **context: Any) -> Response:
        return self._templates.TemplateResponse(request, template, {"page": page, **context})

    def _range(self, request: Request) -> timerange.TimeRange:
        return timerange.parse(request.query_params, self._clock_ns() / 1e9)

    def _trace_id(self, request: Request) -> str:
        trace_id = str(request.path_params["trace_id"]).lower()
        if not _TRACE_ID.fullmatch(trace_id):
            raise HTTPException(404, f"{trace_id[:40]!r} is no trace id: those have 32 hexadecimal digits")
        return trace_id

    async def _find_video(self, request: Request) -> VideoRow:
        request_id = str(request.path_params["request_id"])
        video = None
        if _REQUEST_ID.fullmatch(request_id):
            video = await run_in_threadpool(self._videos.get, request_id)
        if video is None:
            said = f"there is no video {request_id[:64]!r}"
            if _VIDEO_ID.fullmatch(request_id):
                raise HTTPException(404, f"{said}. {_NOT_YET}", _LOOK_AGAIN)
            raise HTTPException(404, f"{said}: a video's id is video_ and 32 hexadecimal digits")
        return video

    @staticmethod
    def _filters(request: Request) -> tuple[str | None, str | None]:
        return _name(request, "model"), parameters.choice(request, "status", VIDEO_STATUSES)


def _name(request: Request, name: str) -> str | None:
    value = parameters.text(request, name)
    if value is not None and not _NAME.fullmatch(value):
        raise parameters.BadParameterError(name, value, "letters, digits and _ . : / - only")
    return value


def _about(trace: dict[str, Any]) -> dict[str, Any]:
    spans = trace["spans"]
    roots = [span for span in spans if span["parent"] is None]
    root = max(roots, key=lambda s: s["dur"], default=None)
    end = max((span["start"] + span["dur"] for span in spans), default=0)
    return {
        "root": root["name"] if root else "Log without spans",
        "request_id": next(
            (
                s["attrs"]["request_id"]
                for s in roots
                if _REQUEST_ID.fullmatch(s["attrs"].get("request_id", ""))
            ),
            None,
        ),
        "services": sorted({span["service"] for span in spans}),
        "errors": sum(span["status"] == "error" for span in spans),
        "count": len(spans),
        "took": numbers.duration(end / 1e9),
        "started": iso(int(trace["origin_ns"])) if spans else "",
        "started_ms": int(trace["origin_ns"]) // 1_000_000,
    }
