"""Live streams (server-sent events): each remembers what its page has and sends only what has changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from rushes.web.live import Kind, Live
from rushes.web.story import video_fields, video_story
from rushes.web.waterfall import trace_view

if TYPE_CHECKING:
    from rushes.dashboards import Dashboard
    from rushes.query import SpanRow
    from rushes.web.facades import Logs, Traces, Videos
    from rushes.web.gpu import GpuWatch
    from rushes.web.panels import PanelEvaluator
    from rushes.web.silence import Silence
    from rushes.web.timerange import TimeRange

__all__ = ["LOG_LIMIT", "OperationsFeed", "TraceFeed", "VideoFeed", "VideosFeed", "log_lines", "stream"]

LOG_LIMIT: Final = 2000

logger = logging.getLogger(__name__)


_OF_VIDEOS: Final[Collection[Kind]] = frozenset({"traces", "logs"})
_OF_PANELS: Final[Collection[Kind]] = frozenset({"metrics"})


class Feed(Protocol):
    """What a stream asks on each piece of news: the change since it last asked, or None.

    `kinds` is the telemetry that it reads: news of other kinds change nothing for it.
    """

    kinds: Collection[Kind]

    def poll(self) -> Mapping[str, Any] | None: ...


def stream(
    live: Live,
    feed: Feed,
    *,
    trace_id: str | None = None,
    min_interval_s: float = 0.0,
    baseline: bool = True,
) -> StreamingResponse:
    """The event stream of a feed. With `baseline` it starts with all there is, which a page merges by id.

    A heartbeat asks the feed as well: what runs grows older without news.
    """

    async def events() -> AsyncIterator[str]:
        with live.subscribe(trace_id, kinds=feed.kinds, min_interval_s=min_interval_s) as news:
            yield "retry: 2000\n\n"
            if baseline:
                yield await _message(feed)
            async for _ in news:
                yield await _message(feed)

    return StreamingResponse(
        events(),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _message(feed: Feed) -> str:
    try:
        change = await run_in_threadpool(feed.poll)
    except Exception:
        logger.exception("a live stream could not read its data")
        return "event: problem\ndata: the control room could not read its store; it tries again\n\n"
    if not change:
        return ": nothing new\n\n"
    return f"data: {json.dumps(change, separators=(',', ':'), allow_nan=False)}\n\n"


class VideosFeed:
    """The list of videos: rows that are new or have changed, and ids that no longer fit the filter."""

    kinds = _OF_VIDEOS

    def __init__(
        self,
        videos: Videos,
        clock_ns: Callable[[], int],
        silence: Silence,
        *,
        model: str | None,
        status: str | None,
        limit: int,
    ) -> None:
        self._videos = videos
        self._clock_ns = clock_ns
        self._silence = silence
        self._model = model
        self._status = status
        self._limit = limit
        self._sent: dict[str, dict[str, Any]] = {}

    def poll(self) -> Mapping[str, Any] | None:
        """Asks for the newest videos and compares."""
        found = self._videos.list(limit=self._limit, model=self._model, status=self._status)
        now_ns = self._clock_ns()
        rows = {video.request_id: video_fields(video, now_ns, self._silence.since(video)) for video in found}
        changed = [row for key, row in rows.items() if self._sent.get(key) != row]
        oldest = min((row["accepted_ms"] for row in rows.values()), default=0)
        full = len(rows) >= self._limit  # then older rows have only been pushed off the end
        gone = [
            key
            for key, row in self._sent.items()
            if key not in rows and (not full or row["accepted_ms"] > oldest)
        ]
        self._sent = rows
        return {"rows": changed, "gone": gone} if changed or gone else None


class TraceFeed:
    """A trace, its log and its GPUs: spans that are new or have changed, new lines, readings."""

    kinds = _OF_VIDEOS

    def __init__(self, traces: Traces, logs: Logs, trace_id: str, gpu: GpuWatch | None = None) -> None:
        self._traces = traces
        self._gpu = gpu
        self._lanes: dict[str, Any] | None = None
        self._logs = logs
        self._trace_id = trace_id
        self._spans: dict[str, dict[str, Any]] = {}
        self._resources: set[str] = set()
        self._lines: set[str] = set()
        self._rest: dict[str, Any] = {}

    def poll(self) -> Mapping[str, Any] | None:
        """Asks for the trace and its log and compares."""
        return self.changes(self._traces.get(self._trace_id))

    def changes(self, spans: Sequence[SpanRow]) -> dict[str, Any] | None:
        """The change that these spans, and the log as it is now, make."""
        view = trace_view(spans)
        rest = {"origin_ns": view["origin_ns"], "critical": view["critical"]}
        moved = rest["origin_ns"] != self._rest.get("origin_ns")
        rows = {row["id"]: row for row in view["spans"]}
        changed = [row for key, row in rows.items() if moved or self._spans.get(key) != row]
        resources = {k: v for k, v in view["resources"].items() if k not in self._resources}
        lines = [line for line in log_lines(self._logs, self._trace_id) if line["key"] not in self._lines]
        news: dict[str, Any] = {}
        if changed or rest != self._rest:
            news |= {**rest, "spans": changed, "resources": resources}
        if lines:
            news["logs"] = lines
        lanes = self._gpu.view(spans, int(view["origin_ns"])) if self._gpu else None
        if lanes != self._lanes:
            news["gpu"] = self._lanes = lanes
        self._spans, self._rest = rows, rest
        self._resources |= resources.keys()
        self._lines |= {line["key"] for line in lines}
        return news or None


class VideoFeed:
    """A video's page: its story, its trace and its log."""

    kinds = _OF_VIDEOS

    def __init__(
        self,
        videos: Videos,
        trace: TraceFeed | None,
        spans: Traces,
        request_id: str,
        clock_ns: Callable[[], int],
        *,
        silence: Silence,
    ) -> None:
        self._videos = videos
        self._trace = trace
        self._traces = spans
        self._request_id = request_id
        self._clock_ns = clock_ns
        self._silence = silence
        self._story: dict[str, Any] = {}

    def poll(self) -> Mapping[str, Any] | None:
        """Asks for the video, its spans and its log and compares."""
        video = self._videos.get(self._request_id)
        if video is None:
            return None
        spans = self._traces.get(video.trace_id) if video.trace_id else ()
        story = video_story(video, spans, self._clock_ns(), self._silence.since(video))
        news: dict[str, Any] = {}
        if story != self._story:
            news["video"] = self._story = story
        if self._trace and (change := self._trace.changes(spans)):
            news |= change
        return news or None


class OperationsFeed:
    """The panels of a dashboard over a relative range: those whose data have changed."""

    kinds = _OF_PANELS

    def __init__(self, panels: PanelEvaluator, dashboard: Dashboard, over: Callable[[], TimeRange]) -> None:
        self._panels = panels
        self._dashboard = dashboard
        self._over = over
        self._sent: dict[str, Any] = {}

    def poll(self) -> Mapping[str, Any] | None:
        """Evaluates the panels up to now and compares."""
        over = self._over()
        data = self._panels.dashboard(self._dashboard, over)
        changed = {key: value for key, value in data.items() if self._sent.get(key) != value}
        self._sent = data
        return {"panels": changed, "end": over.end_s} if changed else None


def log_lines(logs: Logs, trace_id: str) -> list[dict[str, Any]]:
    """A trace's log lines, oldest first, each with a key that tells it from the others."""
    found: list[dict[str, Any]] = []
    repeats: dict[str, int] = {}
    for line in logs.search(trace_id=trace_id, limit=LOG_LIMIT):
        text = json.dumps(line, sort_keys=True, default=str)
        digest = hashlib.blake2s(text.encode(), digest_size=8).hexdigest()
        repeats[digest] = repeats.get(digest, 0) + 1
        context = line.get("context")
        found.append(
            {
                "key": f"{digest}-{repeats[digest]}",
                **{
                    name: str(line.get(name) or "")
                    for name in (
                        "timestamp",
                        "level",
                        "service",
                        "component",
                        "worker_id",
                        "event",
                        "span_id",
                    )
                },
                "context": {
                    str(k): v if isinstance(v, str) else json.dumps(v, default=str)
                    for k, v in (context.items() if isinstance(context, Mapping) else ())
                },
            }
        )
    return sorted(found, key=lambda line: line["timestamp"])
