"""`rushes server`: the control room in one process: OTLP in, the store, the API and the pages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rushes.ingest import IngestStats, Limits, Receiver
from rushes.ingest import grpc as otlp_grpc
from rushes.ingest.http import routes as otlp_routes
from rushes.ingest.own_metrics import observe as observe_ingest
from rushes.ingest.remote_write_http import remote_write_routes
from rushes.ingest.scrape import Scraper, Target
from rushes.launch import local
from rushes.launch.backup import backup_routes
from rushes.launch.lifetime import SUPERVISED, end_with_parent
from rushes.launch.ports import PortTaken, reserve
from rushes.launch.storing import keep_own_metrics, observe, open_store, problems_route
from rushes.query import Readers
from rushes.sdk import Telemetry, configure, exposition, logs
from rushes.settings import Settings
from rushes.store.interface import Store, StoreError
from rushes.store.upkeep import Upkeep
from rushes.web.api import ScrapeTarget
from rushes.web.api import routes as api_routes
from rushes.web.app import create_app
from rushes.web.live import Live
from rushes.web.media import MediaStore
from rushes.web.token import TokenGate

__all__ = ["CannotStart", "run"]

_LOG: Final = logs.get_logger("control-room")
_GRPC_GRACE_S: Final = 2
_LOOK_S: Final = 0.02


class CannotStart(Exception):  # noqa: N818 - says what is the case
    """A port is taken or the store can't be opened; the text says which and what to do."""


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, which has two of them and gRPC to end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises CannotStart."""
    end_with_parent()
    telemetry = configure(
        service="rushes-control-room", instance="control-room", log_level=settings.log_level
    )
    logs.bridge_stdlib(logging.WARNING)
    try:
        for name in ("port", "otlp_http_port", "otlp_grpc_port"):
            setattr(
                settings, name, reserve(settings.host, getattr(settings, name), f"--{name.replace('_', '-')}")
            )
        store = open_store(settings)
    except (PortTaken, StoreError, ValueError) as error:
        raise CannotStart(str(error)) from error
    upkeep = Upkeep(store, max_bytes=settings.max_bytes)
    observe(upkeep)
    upkeep.start()
    try:
        asyncio.run(_serve(settings, store, upkeep, telemetry))
    finally:
        upkeep.close()
        store.close()


async def _serve(settings: Settings, store: Store, upkeep: Upkeep, telemetry: Telemetry) -> None:
    live = Live()
    receiver = Receiver(store, limits=Limits(), on_ingest=live.notify)
    observe_ingest(receiver)
    targets = _targets(settings)
    readers = Readers.over(store)

    def problems() -> list[str]:
        return [*upkeep.problems(), *receiver.problems()]

    pages = create_app(
        videos=readers.videos,
        traces=readers.traces,
        logs=readers.logs,
        promql=readers.promql,
        api_routes=[
            Route("/metrics", _metrics),
            problems_route(problems),
            *backup_routes(store),
            *remote_write_routes(receiver),
            *api_routes(
                readers,
                version=version("rushes"),
                live=live,
                targets=[ScrapeTarget(of.url, of.own, of.interval_s, of.timeout_s) for of in targets],
            ),
        ],
        media=MediaStore(settings.media_url),
        live=live,
        health=lambda: _health(store, problems, receiver.stats),
    )
    token = settings.token.get_secret_value() if settings.token else None
    servers = [
        _server(pages, settings.host, settings.port, token),
        _server(Starlette(routes=otlp_routes(receiver)), settings.host, settings.otlp_http_port, token),
    ]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    grpc_server, _ = await otlp_grpc.serve(receiver, f"{host}:{settings.otlp_grpc_port}", token=token)

    def stop() -> None:
        live.close()  # open streams would keep their server waiting
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    _LOG.info("process.started", process="control room", address=f"http://{host}:{settings.port}")
    scraping = asyncio.create_task(Scraper(receiver, targets).run())
    keeping = asyncio.create_task(keep_own_metrics(telemetry, receiver))
    alone = os.environ.get(SUPERVISED) != "1"  # else `rushes up` tells, of the studio too
    try:
        await asyncio.gather(
            *(server.serve() for server in servers), *([_tell(settings, servers, host)] if alone else [])
        )
    finally:
        stop()
        if alone:
            local.remove(settings.local_file)
        scraping.cancel()
        keeping.cancel()
        await asyncio.gather(scraping, keeping, return_exceptions=True)
        await grpc_server.stop(_GRPC_GRACE_S)
        await loop.run_in_executor(None, receiver.close)


def _targets(settings: Settings) -> list[Target]:
    return [
        Target(of.name, str(url), of.interval, of.timeout, of.bearer_token_file, of.labels)
        for of in settings.scrape
        for url in of.urls
    ]


async def _tell(settings: Settings, servers: Sequence[uvicorn.Server], host: str) -> None:
    """Writes local.json once both servers answer."""
    while not all(server.started for server in servers):
        if any(server.should_exit for server in servers):
            return
        await asyncio.sleep(_LOOK_S)
    ui = f"http://{host}:{settings.port}"
    local.write(
        settings.local_file,
        local.Local(
            ui=ui,
            gateway=None,
            otlp_http=f"http://{host}:{settings.otlp_http_port}",
            otlp_grpc=f"http://{host}:{settings.otlp_grpc_port}",
            metrics=[f"{ui}/metrics"],
            pid=os.getpid(),
            api_key=None,
        ),
    )


def _server(app: ASGIApp, host: str, port: int, token: str | None) -> _Server:
    if token:
        app = TokenGate(app, token)
    elif ":" not in host:
        # A page of the web whose name is made to resolve to 127.0.0.1 must not read what is here.
        app = TrustedHostMiddleware(app, allowed_hosts=["127.0.0.1", "localhost", host], www_redirect=False)
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    )


async def _metrics(request: Request) -> Response:
    text, content_type = exposition(request.headers.get("accept", ""))
    return Response(text, media_type=content_type)


def _health(store: Store, problems: Callable[[], list[str]], stats: IngestStats) -> dict[str, Any]:
    """Ready as long as there are answers. Anybody may ask, so of problems only their number is told."""
    store.rows("SELECT 1 AS one")
    return {
        "ready": True,
        "problems": len(problems()),
        "spans": stats.spans,
        "logs": stats.logs,
        "samples": stats.samples,
    }
