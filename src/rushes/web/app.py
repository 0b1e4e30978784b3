"""The control room's web application: pages, live streams, media, health, and the API's routes beside them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from rushes.web import numbers
from rushes.web.errors import ErrorPages
from rushes.web.headers import SecurityHeaders
from rushes.web.pages import Pages

if TYPE_CHECKING:
    from starlette.requests import Request

    from rushes.web.facades import Logs, PromQL, Traces, Videos
    from rushes.web.live import Live
    from rushes.web.media import MediaStore

__all__ = ["create_app"]

_BRIEF: Final = 80
_HERE: Final = Path(__file__).parent
logger = logging.getLogger(__name__)


def create_app(
    *,
    videos: Videos,
    traces: Traces,
    logs: Logs,
    promql: PromQL,
    api_routes: Sequence[BaseRoute],
    media: MediaStore | None,
    live: Live,
    health: Callable[[], Mapping[str, Any]],
    clock_ns: Callable[[], int] = time.time_ns,
) -> Starlette:
    """Builds the application.

    Args:
        videos: the query layer's videos; like the next three it may block, and is called in threads.
        traces: the query layer's traces.
        logs: the query layer's logs.
        promql: the query layer's PromQL.
        api_routes: the JSON API's routes, tried before the pages.
        media: where videos are stored; None answers 404 for all of them.
        live: carries ingest's news to open pages. Call `live.close()` before the server waits for its
            connections: open streams end only then.
        health: asks the store; what it returns is the body of /readyz. If it raises, or "ready" is false in
            it, the answer is 503.
        clock_ns: the time, in Unix nanoseconds.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["short"] = numbers.short
    environment.filters["brief"] = lambda text: text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"
    templates = Jinja2Templates(env=environment)
    pages = Pages(
        videos=videos,
        traces=traces,
        logs=logs,
        promql=promql,
        media=media,
        live=live,
        templates=templates,
        clock_ns=clock_ns,
    )

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        try:
            state = dict(await run_in_threadpool(health))
        except Exception:
            logger.exception("the store does not answer")
            state = {"ready": False, "error": "the store does not answer; the control room's log says why"}
        return JSONResponse(state, 503 if state.get("ready") is False else 200)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *api_routes,
            *pages.routes(),
            Mount("/static", StaticFiles(directory=_HERE / "static"), name="static"),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers=ErrorPages(templates).handlers(),
    )
