"""An OTLP/HTTP server over a store, on a free loopback port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette

from rushes.ingest import Receiver
from rushes.ingest.http import routes

__all__ = ["Heard", "Served", "serving"]


@dataclass
class Heard:
    """What the listener for ingested telemetry was told."""

    calls: list[tuple[str, set[str]]] = field(default_factory=list)

    def __call__(self, kind: str, trace_ids: set[str]) -> None:
        self.calls.append((kind, trace_ids))


@dataclass(frozen=True)
class Served:
    """A running server: its address, its receiver and what its listener heard."""

    url: str
    receiver: Receiver
    heard: Heard


@contextmanager
def serving(receiver: Receiver, heard: Heard) -> Iterator[Served]:
    """Serve the receiver until the block ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(Starlette(routes=routes(receiver)), log_config=None, lifespan="off")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", receiver, heard)
        finally:
            server.should_exit = True
            thread.join()
            receiver.close()
