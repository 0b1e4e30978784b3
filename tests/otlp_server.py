"""A server for OTLP/HTTP and remote write over a store, on a free loopback port."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette

from rushes.ingest import Receiver
from rushes.ingest import grpc as otlp_grpc
from rushes.ingest.http import routes
from rushes.ingest.remote_write_http import remote_write_routes

__all__ = ["Heard", "Served", "serving", "serving_grpc"]


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
def serving_grpc(receiver: Receiver) -> Iterator[str]:
    """Serve the receiver over gRPC until the block ends; yields its address."""
    address: queue.Queue[str] = queue.Queue()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        server, port = await otlp_grpc.serve(receiver, "127.0.0.1:0")
        address.put(f"127.0.0.1:{port}")
        await done.wait()
        await server.stop(None)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield address.get(timeout=30)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()
        receiver.close()


@contextmanager
def serving(receiver: Receiver, heard: Heard) -> Iterator[Served]:
    """Serve the receiver until the block ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # before the server is up, clients wait instead of being refused
        server = uvicorn.Server(
            uvicorn.Config(
                Starlette(routes=[*routes(receiver), *remote_write_routes(receiver)]),
                log_config=None,
                lifespan="off",
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", receiver, heard)
        finally:
            server.should_exit = True
            thread.join()
            receiver.close()
