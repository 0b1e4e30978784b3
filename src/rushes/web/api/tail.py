"""The log as it comes in: `GET /api/logs/tail`, server-sent events, with the same filters as /api/logs.

Each event is one record in the specification's format, and has an id. A client that lost its connection sends the
last one (browsers do so by themselves) and gets what it missed.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Send

from rushes.query import KeyedRecord, LogFilter, Logs, Readers
from rushes.sdk import instruments
from rushes.web.api.answers import Outcome
from rushes.web.api.asked import LOG_PARAMETERS, log_filter
from rushes.web.live import Live
from rushes.web.parameters import BadParameterError, integer, only

__all__ = ["LogTail", "Parked", "routes"]

_AT_ONCE: Final = 500
_REMEMBERED: Final = 5000
_BACKLOG: Final = 20
_MAX_CLIENTS: Final = 100
_PARKED: Final = 200
# A record comes this long after its own time at most: batches wait in their sender, clocks differ.
_LATE_NS: Final = 120 * 1_000_000_000
_SLOW_S: Final = 15.0
_STUCK_S: Final = 60.0
_EVENT_ID: Final = re.compile(r"([0-9]{1,19})\.([0-9a-f]{16})\.([0-9]{1,12})")

_LEFT_OUT: Final = (
    f"more than {_AT_ONCE} records came at once: the oldest of them are left out here, narrow the filter"
)
_TOO_SLOW: Final = "you read too slowly: the connection ends here, connect again to go on"

logger = logging.getLogger(__name__)


class _Sent:
    """The keys of what a connection had, each with its event's number (0: it counts as sent, without an event).

    Written by the connection's thread, and read by the event loop, where its client has come back on another one.
    """

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._numbers

    def add(self, numbers: Mapping[str, int]) -> None:
        with self._lock:
            self._numbers |= numbers
            while len(self._numbers) > _REMEMBERED:
                self._numbers.popitem(last=False)

    def up_to(self, number: int) -> list[str]:
        """The keys of all that was sent before, and with, the event of this number."""
        with self._lock:
            return [key for key, each in self._numbers.items() if each <= number]


class Parked:
    """What ended connections had sent, so that each can go on where it was: the newest of them, in this process."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, _Sent] = OrderedDict()

    def keep(self, token: str, sent: _Sent) -> None:
        self._sent[token] = sent
        while len(self._sent) > _PARKED:
            self._sent.popitem(last=False)

    def take(self, token: str, number: int) -> list[str] | None:
        """The keys of what a connection had sent up to its event of this number; None if that isn't known."""
        sent = self._sent.get(token)
        return None if sent is None else sent.up_to(number)


@dataclass(frozen=True, slots=True)
class _Last:
    """The last event that a client has: its record's time, and whether what was sent before it is known."""

    ns: int
    is_known: bool


class LogTail:
    """One connection: what it has sent, and what is new. Its method blocks.

    Args:
        logs: where the records are.
        asked: which of them.
        parked: what earlier connections had sent.
        last_event_id: of the last event that the client has; empty for none.
        backlog: with how many records to begin, where there was no event yet.
        clock_ns: nanoseconds since the epoch, now.
    """

    def __init__(
        self,
        logs: Logs,
        asked: LogFilter,
        parked: Parked,
        *,
        last_event_id: str = "",
        backlog: int = _BACKLOG,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._logs = logs
        self._asked = asked
        self._clock_ns = clock_ns
        self._backlog = backlog
        self._begun = False
        self._number = 0
        self.token: Final = secrets.token_hex(8)
        self._sent = _Sent()
        self._last: _Last | None = None
        found = _EVENT_ID.fullmatch(last_event_id.strip())
        if found is not None:
            before = parked.take(found.group(2), int(found.group(3)))
            self._last = _Last(int(found.group(1)), before is not None)
            self._sent.add(dict.fromkeys(before or (), 0))
        parked.keep(self.token, self._sent)

    def poll(self) -> tuple[list[tuple[str, dict[str, Any]]], bool]:
        """Records that are new, oldest first, each with its event's id; and whether there were more than fit."""
        if self._begun:
            new = self._unsent(self._clock_ns() - _LATE_NS)
        elif self._last is None:
            new = self._newest()
        elif self._last.is_known:
            new = self._unsent(min(self._clock_ns(), self._last.ns) - _LATE_NS)
        else:
            new = self._after(self._last.ns)
        overflow = len(new) == _AT_ONCE and (self._begun or self._last is not None)
        self._begun = True
        events = []
        numbers: dict[str, int] = {}
        for key, ns, record in new:
            self._number += 1
            numbers[key] = self._number
            events.append((f"{ns}.{self.token}.{self._number}", record))
        self._sent.add(numbers)
        return events, overflow

    def _newest(self) -> list[KeyedRecord]:
        """The backlog. Whatever else is there already counts as sent."""
        newest = recent = self._since(self._clock_ns() - _LATE_NS)
        if len(recent) < self._backlog:
            newest = self._logs.keyed(self._asked, limit=self._backlog)
        self._sent.add({key: 0 for key, _, _ in recent})
        return newest[max(0, len(newest) - self._backlog) :]

    def _after(self, last_ns: int) -> list[KeyedRecord]:
        """What has a later time. Of the rest nobody knows any more whether it was sent: it counts as sent."""
        recent = self._since(min(self._clock_ns() - _LATE_NS, last_ns))
        self._sent.add({key: 0 for key, _, _ in recent})
        return [record for record in recent if record[1] > last_ns]

    def _unsent(self, since_ns: int) -> list[KeyedRecord]:
        return [record for record in self._since(since_ns) if record[0] not in self._sent]

    def _since(self, since_ns: int) -> list[KeyedRecord]:
        since_ns = max(0, since_ns, self._asked.since_ns or 0)
        return self._logs.keyed(replace(self._asked, since_ns=since_ns), limit=_AT_ONCE)


class _StuckError(Exception):
    """The client takes nothing any more."""


class _Stream(StreamingResponse):
    """A stream whose client must take each message within a minute."""

    async def stream_response(self, send: Send) -> None:
        async def timely(message: Message) -> None:
            with anyio.move_on_after(_STUCK_S) as scope:
                await send(message)
            if scope.cancelled_caught:
                raise _StuckError

        try:
            await super().stream_response(timely)
        except _StuckError:
            logger.warning(
                "a client of the live tail took nothing for %d s: its connection is given up", _STUCK_S
            )


def routes(readers: Readers, live: Live, *, clock_ns: Callable[[], int] = time.time_ns) -> list[BaseRoute]:
    """The route of the live tail; `clock_ns` gives nanoseconds since the epoch."""
    parked = Parked()
    clients: set[str] = set()

    async def tail(request: Request) -> Response:
        try:
            only(request, *LOG_PARAMETERS, "limit")
            asked, backlog = log_filter(request), _backlog(request)
        except BadParameterError as error:
            return JSONResponse({"error": str(error), "parameter": error.name, "value": error.value}, 400)
        if len(clients) >= _MAX_CLIENTS:
            return JSONResponse(
                {"error": f"{_MAX_CLIENTS} clients follow the log already: try again later"},
                503,
                {"retry-after": "10"},
            )
        of = LogTail(
            readers.logs,
            asked,
            parked,
            last_event_id=request.headers.get("last-event-id", ""),
            backlog=backlog,
            clock_ns=clock_ns,
        )
        return _Stream(
            _events(of, asked, live, clients),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    return [Route("/api/logs/tail", tail)]


def _backlog(request: Request) -> int:
    found = integer(request, "limit")
    if found is None:
        return _BACKLOG
    if found > _AT_ONCE:
        raise BadParameterError("limit", str(found), f"from 0 to {_AT_ONCE}")
    return found


async def _events(of: LogTail, asked: LogFilter, live: Live, clients: set[str]) -> AsyncIterator[str]:
    clients.add(of.token)
    try:
        with live.subscribe(asked.trace_id, kinds=frozenset({"logs"})) as news:
            yield "retry: 2000\n\n"
            yield await _message(of)
            async for _ in news:
                message = await _message(of)
                offered = anyio.current_time()
                yield message
                if anyio.current_time() - offered > _SLOW_S:
                    yield _note(_TOO_SLOW)
                    return
    finally:
        clients.discard(of.token)


async def _message(of: LogTail) -> str:
    """New records as events, or a comment that keeps the connection alive."""
    started = time.perf_counter()
    outcome: Outcome = "ok"
    events: list[tuple[str, dict[str, Any]]] = []
    overflow = False
    try:
        events, overflow = await run_in_threadpool(of.poll)
    except Exception:
        logger.exception("the live tail could not read the log")
        outcome = "unavailable"
    instruments.rushes_query_duration_seconds.record(
        time.perf_counter() - started, api="log_tail", outcome=outcome
    )
    if outcome != "ok":
        return _note("the control room could not read its store; it tries again")
    text = "".join(
        f"id: {event_id}\ndata: {json.dumps(record, ensure_ascii=False)}\n\n" for event_id, record in events
    )
    if overflow:
        text = _note(_LEFT_OUT) + text
    return text or ": nothing new\n\n"


def _note(text: str) -> str:
    return f"event: note\ndata: {json.dumps({'note': text})}\n\n"
