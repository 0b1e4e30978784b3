"""The machine's clock is set back while clients send: they are told, the page says it, and it all comes right again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from starlette.applications import Starlette
from starlette.testclient import TestClient

from clickhouse_server import opened, serving
from otlp_messages import logs_request
from rushes.ingest import Receiver
from rushes.ingest.http import routes
from rushes.launch.storing import problems_route
from rushes.query import Readers
from rushes.store.upkeep import Upkeep
from rushes.web.api import routes as api_routes
from telemetry_store import NOW_NS, NOW_S, unique

HOUR_S = 3600


@dataclass
class Room:
    """A control room whose clock the test sets; `steady` is the one that nobody can set."""

    client: TestClient
    upkeep: Upkeep
    time_s: list[int]
    steady_s: list[int]

    def pass_(self, seconds: int) -> None:
        self.time_s[0] += seconds
        self.steady_s[0] += seconds
        self.upkeep.look()

    def send(self, request_id: str, at_s: int) -> int:
        """How many records are refused."""
        body = logs_request(time_unix_nano=at_s * 10**9, attributes={"request_id": request_id})
        headers = {"content-type": "application/x-protobuf"}
        reply = self.client.post("/v1/logs", content=body.SerializeToString(), headers=headers)
        assert reply.status_code == 200
        return ExportLogsServiceResponse.FromString(reply.content).partial_success.rejected_log_records

    def problems(self) -> list[str]:
        found: list[str] = self.client.get("/api/problems").json()["problems"]
        return found


@pytest.fixture
def room() -> Iterator[Room]:
    time_s, steady_s = [NOW_S], [1000]
    with serving() as server, opened(server) as store:
        receiver = Receiver(store, clock_ns=lambda: NOW_NS + (time_s[0] - NOW_S) * 10**9)
        upkeep = Upkeep(store, clock=lambda: time_s[0], monotonic=lambda: steady_s[0])

        def problems() -> list[str]:
            return [*upkeep.problems(), *receiver.problems()]

        every: list[Any] = [
            *routes(receiver),
            problems_route(problems),
            *api_routes(Readers.over(store), version="1"),
        ]
        with TestClient(Starlette(routes=every)) as client:
            yield Room(client, upkeep, time_s, steady_s)
        receiver.close()


def test_a_clock_that_is_set_back_by_an_hour(room: Room) -> None:
    before, during = unique("before"), unique("during")
    room.pass_(30)
    assert room.send(before, NOW_S + 30) == 0
    assert room.problems() == []

    room.time_s[0] -= HOUR_S
    room.pass_(30)
    assert [room.send(before, NOW_S + 60) for _ in range(2)] == [1, 1], "of a client whose clock is right"
    assert room.send(during, room.time_s[0]) == 0, "the service goes on"
    told = room.problems()
    assert any("clock was set back by 3600 s" in problem for problem in told)
    assert any("logs: 2 rows refused" in problem and "600 s in the future" in problem for problem in told)
    for request_id in (before, during):
        lines = room.client.get("/api/logs", params={"request_id": request_id}).text.splitlines()
        assert len(lines) == 1, "what was acknowledged is there"

    room.pass_(HOUR_S)
    assert room.send(before, NOW_S + 90) == 0
    assert room.problems() == []
