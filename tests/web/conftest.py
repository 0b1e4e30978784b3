"""A control room over recorded rows: as an app in this process, and on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from rushes.web.app import create_app
from rushes.web.live import Live
from rushes.web.media import MediaStore
from web.fakes import Room

NOW_NS = 1_790_000_000_000_000_000


@pytest.fixture
def room() -> Room:
    return Room(NOW_NS)


@pytest.fixture
def live() -> Live:
    return Live(min_interval_s=0.0, heartbeat_s=0.05)


def make_app(room: Room, live: Live, media: MediaStore | None = None) -> Starlette:
    async def api(_: object) -> JSONResponse:
        return JSONResponse({"status": "success"})

    async def problems(_: object) -> JSONResponse:
        return JSONResponse({"problems": room.problems})

    async def links(_: object) -> JSONResponse:
        return JSONResponse({"metrics": [], "exemplars": [], "start": 0, "end": 0})

    def health() -> dict[str, object]:
        if not room.healthy:
            raise OSError("recorded: the disk is gone")
        return {"ready": True, "spans": 7}

    return create_app(
        videos=room.videos,
        traces=room.traces,
        logs=room.logs,
        promql=room.promql,
        api_routes=[
            Route("/api/v1/query", api),
            Route("/api/problems", problems),
            Route("/api/traces/{trace_id}/links", links),
        ],
        media=media,
        live=live,
        health=health,
        clock_ns=lambda: room.now_ns,
    )


@pytest.fixture
def client(room: Room, live: Live) -> Iterator[TestClient]:
    with TestClient(make_app(room, live), raise_server_exceptions=False) as client:
        yield client
