"""`rushes server`: the control room in one process: OTLP in, the store, the API and the pages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from rushes.launch import local
from rushes.launch.lifetime import SUPERVISED, end_with_parent
from rushes.launch.ports import PortTaken, reserve
from rushes.query import Readers
from rushes.sdk import configure, exposition, instruments, logs
from rushes.settings import Settings
from rushes.store.chdb_store import ChdbStore
from rushes.store.interface import Store, StoreError
from rushes.web.api import routes as api_routes
from rushes.web.app import create_app
from rushes.web.live import Live
from rushes.web.media import MediaStore
from rushes.web.token import TokenGate

__all__ = ["CannotStart", "run"]

_LOG: Final = logs.get_logger("control-room")
_DAY_S: Final = 86_400
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
    configure(service="rushes-control-room", instance="control-room", log_level=settings.log_level)
    logs.bridge_stdlib(logging.WARNING)
    try:
        for name in ("port", "otlp_http_port", "otlp_grpc_port"):
            setattr(
                settings, name, reserve(settings.host, getattr(settings, name), f"--{name.replace('_', '-')}")
            )
        store = ChdbStore(settings.data_dir / "telemetry", retention_s=settings.retention_days * _DAY_S)
    except (PortTaken, StoreError, ValueError) as error:
        raise CannotStart(str(error)) from error
    try:
        asyncio.run(_serve(settings, store))
    finally:
        store.close()


async def _serve(settings: Settings, store: Store) -> None:
    live = Live()
    receiver = Receiver(store, limits=Limits(), on_ingest=live.notify)
    _observe(receiver.stats)
    readers = Readers.over(store)
    pages = create_app(
        videos=readers.videos,
        traces=readers.traces,
        logs=readers.logs,
        promql=readers.promql,
        api_routes=[Route("/metrics", _metrics), *api_routes(readers, version=version("rushes"))],
        media=MediaStore(settings.media_url),
        live=live,
        health=lambda: _health(store, receiver.stats),
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
    alone = os.environ.get(SUPERVISED) != "1"  # else `rushes up` tells, of the studio too
    try:
        await asyncio.gather(
            *(server.serve() for server in servers), *([_tell(settings, servers, host)] if alone else [])
        )
    finally:
        stop()
        if alone:
            local.remove(settings.local_file)
        await grpc_server.stop(_GRPC_GRACE_S)
        await loop.run_in_executor(None, receiver.close)


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


def _health(store: Store, stats: IngestStats) -> dict[str, Any]:
    store.rows("SELECT 1 AS one")
    return {"ready": True, "spans": stats.spans, "logs": stats.logs, "samples": stats.samples}


def _observe(stats: IngestStats) -> None:
    def accepted() -> Iterable[tuple[float, Mapping[str, str]]]:
        return [(getattr(stats, signal_), {"signal": signal_}) for signal_ in ("spans", "logs", "samples")]

    def refused() -> Iterable[tuple[float, Mapping[str, str]]]:
        by_reason = {**stats.refused, **stats.failed}
        return [(count, {"reason": reason}) for reason, count in by_reason.items()]

    instruments.rushes_ingest_accepted_total.observe(accepted)
    instruments.rushes_ingest_refused_total.observe(refused)
