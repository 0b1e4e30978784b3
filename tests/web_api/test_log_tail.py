"""The live tail of the log: what is new, once, in order, with the filters of the search."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from otlp_messages import attributes, logs_request
from rushes.query import LogFilter, Logs, Readers
from rushes.web.api import tail
from rushes.web.api.tail import LogTail, Parked
from rushes.web.live import Live
from telemetry_sender import S, say, send
from telemetry_store import NOW_NS, shared_store, unique


class Clock:
    def __init__(self) -> None:
        self.s = 60.0

    def __call__(self) -> int:
        return NOW_NS + round(self.s * S)


def _tail(service: str, clock: Clock, parked: Parked, **more: Any) -> LogTail:
    logs = Logs(shared_store(), clock_ns=clock)
    asked = LogFilter(service=service, min_level=more.pop("min_level", None))
    return LogTail(logs, asked, parked, clock_ns=clock, **more)


def _poll(of: LogTail) -> list[str]:
    return [record["event"] for _, record in of.poll()[0]]


def test_it_begins_with_the_newest_and_goes_on_with_what_comes() -> None:
    service, clock = unique("tail"), Clock()
    for number in range(5):
        say(f"e{number}", number, service=service)
    of = _tail(service, clock, Parked(), backlog=2)
    assert _poll(of) == ["e3", "e4"]
    assert _poll(of) == []
    say("e6", 6, service=service)
    say("late", 2.5, service=service)  # its batch waited
    assert _poll(of) == ["late", "e6"]
    assert _poll(of) == []


def test_what_comes_while_it_begins_pushes_nothing_older_into_the_news() -> None:
    service, clock = unique("tail"), Clock()
    for number in range(3):
        say(f"e{number}", number, service=service)

    class Busy(Logs):
        """A log to which two records come before every reading but the first."""

        asked = 0

        def keyed(self, asked: LogFilter, *, limit: int = 200) -> Any:
            for number in range(2 * min(self.asked, 1)):
                say(f"busy{self.asked}.{number}", 10 + self.asked + number / 2, service=service)
            self.asked += 1
            return super().keyed(asked, limit=limit)

    of = LogTail(
        Busy(shared_store(), clock_ns=clock), LogFilter(service=service), Parked(), backlog=4, clock_ns=clock
    )
    assert _poll(of) == ["e1", "e2", "busy1.0", "busy1.1"]
    assert _poll(of) == ["busy2.0", "busy2.1"]


def test_old_records_are_the_backlog_of_a_quiet_log() -> None:
    service, clock = unique("tail"), Clock()
    say("long ago", 0, service=service)
    clock.s = 9000
    of = _tail(service, clock, Parked(), backlog=5)
    assert _poll(of) == ["long ago"]
    say("new", 8999, service=service)
    assert _poll(of) == ["new"]
    assert _poll(_tail(service, clock, Parked(), backlog=0)) == []


def test_a_sender_whose_clock_is_ahead_hides_nothing() -> None:
    service, clock = unique("tail"), Clock()
    of = _tail(service, clock, Parked(), backlog=0)
    assert _poll(of) == []
    say("tomorrow", 90, service=service)
    assert _poll(of) == ["tomorrow"]
    say("today", 61, service=service)
    assert _poll(of) == ["today"]


def test_filters_are_those_of_the_search() -> None:
    service, clock = unique("tail"), Clock()
    of = _tail(service, clock, Parked(), backlog=0, min_level="WARN")
    assert _poll(of) == []
    say("fine", 1, service=service)
    say("bad", 2, service=service, level=17)
    assert _poll(of) == ["bad"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_client_goes_on_after_its_last_event(restarted: bool) -> None:  # noqa: FBT001
    service, clock, parked = unique("tail"), Clock(), Parked()
    first = _tail(service, clock, parked, backlog=0)
    assert _poll(first) == []
    for number in range(3):
        say(f"e{number}", number, service=service)
    events, _ = first.poll()
    seen = events[1][0]  # the connection broke before the third arrived
    say("e3", 3, service=service)
    say("late", 0.5, service=service)
    again = _tail(service, clock, Parked() if restarted else parked, last_event_id=seen)
    # Of what came late the restarted server can't tell whether it was sent.
    assert _poll(again) == (["e2", "e3"] if restarted else ["late", "e2", "e3"])
    assert _poll(again) == []
    # However long it took to come back.
    clock.s = 40_000
    much_later = _tail(service, clock, parked, last_event_id=seen)
    assert _poll(much_later)[-2:] == ["e2", "e3"]


def test_an_event_id_of_elsewhere_begins_anew() -> None:
    service, clock = unique("tail"), Clock()
    say("e0", 0, service=service)
    for odd in ("x", "1.2.3", "9" * 40, "-1.0123456789abcdef.1"):
        assert _poll(_tail(service, clock, Parked(), last_event_id=odd)) == ["e0"]
    far = f"{'9' * 19}.0123456789abcdef.1"
    assert _poll(_tail(service, clock, Parked(), last_event_id=far)) == []


def test_more_at_once_than_fit_is_said() -> None:
    service, clock = unique("tail"), Clock()
    of = _tail(service, clock, Parked(), backlog=0)
    assert of.poll() == ([], False)
    request = logs_request(service, attributes={"event": "e"})
    records = request.resource_logs[0].scope_logs[0].log_records
    for number in range(700):
        records.add(
            time_unix_nano=NOW_NS + number * 1_000_000, attributes=attributes({"event": f"e{number}"})
        )
    send("logs", request)
    events, overflow = of.poll()
    assert overflow
    assert [record["event"] for _, record in events] == [f"e{number}" for number in range(200, 700)]
    assert of.poll() == ([], False)


Send = Callable[[Any], Coroutine[Any, Any, None]]


def _stream(live: Live, query: str, send_: Send, until: asyncio.Event) -> Coroutine[Any, Any, None]:
    app = Starlette(routes=tail.routes(Readers.over(shared_store()), live, clock_ns=Clock()))

    async def receive() -> Any:
        await until.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http", "method": "GET", "path": "/api/logs/tail", "headers": [], "http_version": "1.1",
        "query_string": query.encode(), "scheme": "http", "server": ("x", 80), "client": ("y", 1), "root_path": "",
    }  # fmt: skip
    return app(scope, receive, send_)


def test_it_streams_events_and_ends_with_the_server() -> None:
    service = unique("tail")
    say("e0", 0, service=service)
    got: list[bytes] = []

    async def watch() -> None:
        live, arrived = Live(min_interval_s=0, heartbeat_s=30), asyncio.Event()

        async def take(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 200
                assert (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]
            elif message["body"]:
                got.append(message["body"])
                arrived.set()

        stream = asyncio.create_task(_stream(live, f"service={service}", take, asyncio.Event()))
        while len(got) < 2:
            arrived.clear()
            await arrived.wait()
        await asyncio.to_thread(say, "e1", 1, service=service)
        live.notify("metrics")  # no news for a log
        live.notify("logs")
        while len(got) < 3:
            arrived.clear()
            await arrived.wait()
        live.close()
        await stream
        assert live.watchers == 0

    asyncio.run(watch())
    assert got[0] == b"retry: 2000\n\n"
    for text, event in zip(got[1:], ("e0", "e1"), strict=True):
        event_id, data = text.decode().strip().split("\n")
        assert event_id.startswith("id: ")
        assert json.loads(data.removeprefix("data: "))["event"] == event


def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_STUCK_S", 0.01)

    async def watch() -> None:
        live = Live()

        async def take(_: Any) -> None:
            await asyncio.Event().wait()

        await _stream(live, "", take, asyncio.Event())
        assert live.watchers == 0

    asyncio.run(watch())


def test_a_client_that_takes_its_time_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_SLOW_S", -1.0)  # everybody is too slow
    got: list[bytes] = []

    async def watch() -> None:
        live = Live(min_interval_s=0, heartbeat_s=0.01)

        async def take(message: Any) -> None:
            got.append(message.get("body", b""))

        await _stream(live, f"service={unique('nobody')}", take, asyncio.Event())

    asyncio.run(watch())
    assert b"event: note" in got[-2]
    assert b"too slowly" in got[-2]


@pytest.mark.parametrize(
    "query", ["limit=501", "limit=-1", "level=loud", "trace_id=x", "start=soon", "span_id=1", "job=1"]
)
def test_bad_parameters_are_refused(query: str) -> None:
    with TestClient(Starlette(routes=tail.routes(Readers.over(shared_store()), Live()))) as client:
        reply = client.get(f"/api/logs/tail?{query}")
    assert reply.status_code == 400
    assert reply.json()["parameter"] == query.split("=", maxsplit=1)[0]
