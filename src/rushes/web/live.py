"""Who waits for what has just come in: ingest says that a batch is stored, open pages learn of it.

Only the news travels here. A page's stream asks the query layer again and sends what changed, so that a page
shows what is stored and a lost notification costs one refresh at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["Kind", "Live", "Subscription", "Tick"]

Kind: TypeAlias = Literal["traces", "metrics", "logs"]
_ALL: Final[frozenset[str]] = frozenset(get_args(Kind))


class Tick(Enum):
    """Why a subscription woke."""

    NEWS = "news"
    HEARTBEAT = "heartbeat"


@dataclass(eq=False, slots=True)
class Subscription:
    """An open stream's place to wait; iterate over it asynchronously. It ends when the Live is closed."""

    loop: asyncio.AbstractEventLoop
    kinds: Collection[str]
    trace_id: str | None
    interval_s: float
    heartbeat_s: float
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: asyncio.Event = field(default_factory=asyncio.Event)
    _last_s: float = float("-inf")

    def offer(self, kind: str, trace_ids: Collection[str]) -> None:
        """Wakes the stream if the batch concerns it. May be called from any thread."""
        if kind in self.kinds and (self.trace_id is None or self.trace_id in trace_ids):
            self._call(self._news)

    def end(self) -> None:
        """Ends the stream. May be called from any thread."""
        self._call(self._closed)
        self._call(self._news)

    def _call(self, event: asyncio.Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the stream
            self.loop.call_soon_threadsafe(event.set)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Tick:
        try:
            await asyncio.wait_for(self._news.wait(), self.heartbeat_s)
        except TimeoutError:
            return Tick.HEARTBEAT
        pause = self._last_s + self.interval_s - self.loop.time()
        if pause > 0 and not self._closed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), pause)
        if self._closed.is_set():
            raise StopAsyncIteration
        self._last_s = self.loop.time()
        self._news.clear()
        return Tick.NEWS


class Live:
    """Carries news from ingest's threads to the streams of open pages.

    Args:
        min_interval_s: a stream wakes at most once in this time, however many batches come.
        heartbeat_s: a stream without news wakes this often, so that a dead connection is noticed.
    """

    def __init__(self, *, min_interval_s: float = 0.5, heartbeat_s: float = 15.0) -> None:
        self._min_interval_s = min_interval_s
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def notify(self, kind: str, trace_ids: Collection[str] = ()) -> None:
        """Tells that a batch was stored. Callable from any thread; never blocks, never raises.

        Args:
            kind: what came: traces, metrics or logs.
            trace_ids: the traces that the batch touches, 32 hex digits each.
        """
        with self._lock:
            waiting = tuple(self._subscriptions)
        for subscription in waiting:
            subscription.offer(kind, trace_ids)

    @contextlib.contextmanager
    def subscribe(
        self,
        trace_id: str | None = None,
        *,
        kinds: Collection[Kind] | None = None,
        min_interval_s: float = 0.0,
    ) -> Iterator[Subscription]:
        """A place to wait for news of one trace, or of all; of some kinds, or of any.

        Call in the event loop that will wait, and before the first query: what comes between the two is then
        not missed.
        """
        subscription = Subscription(
            asyncio.get_running_loop(),
            _ALL if kinds is None else frozenset(kinds),
            trace_id,
            max(min_interval_s, self._min_interval_s),
            self._heartbeat_s,
        )
        with self._lock:
            self._subscriptions.add(subscription)
            closed = self._closed
        if closed:
            subscription.end()
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions.discard(subscription)

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        with self._lock:
            return len(self._subscriptions)

    def close(self) -> None:
        """Ends every stream, present and future. Callable from any thread; a server that stops calls it first."""
        with self._lock:
            self._closed = True
            waiting = tuple(self._subscriptions)
        for subscription in waiting:
            subscription.end()
