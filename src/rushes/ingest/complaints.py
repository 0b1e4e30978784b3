"""Says what is refused: in the log, seldom enough that a broken client can't fill it, and on the page while it goes on.

The counters count; this is for who has to do something about it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rushes.ingest.stats import Reason
from rushes.sdk import logs

__all__ = ["Complaints"]

_LOG: Final = logs.get_logger("ingest")
_INTERVAL_NS: Final = 60_000_000_000
_GOES_ON_NS: Final = 180_000_000_000  # longer than exporters usually wait between two requests


@dataclass
class _Refused:
    """What is refused for one reason: since when, when last, how many requests and rows, and why, as last told."""

    since_ns: int
    last_ns: int
    said_ns: int
    requests: int
    rows: int
    text: str


class Complaints:
    """What is refused of each signal, by reason. Safe for threads.

    Args:
        clock_ns: nanoseconds since the epoch, now.
    """

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._refused: dict[tuple[str, str], _Refused] = {}

    def refused(self, signal: str, reason: Reason, rows: int = 0) -> None:
        """So many rows of a request were refused, or all of it (0). The log says so once a minute."""
        if self._due(signal, reason, rows):
            _LOG.warning("ingest.refused", signal=signal, reason=reason.code)

    def store_failed(self, signal: str, error: Exception) -> None:
        """The store did not take a request, which the store itself says on the page."""
        if self._due(signal, Reason("store", ""), 0):
            _LOG.error("ingest.store.failed", signal=signal, error=str(error))

    def problems(self) -> list[str]:
        """What goes on: more than one request was refused for the same reason, the last one lately."""
        now = self._clock_ns()
        with self._lock:
            return [
                f"{signal}: {f'{of.rows:,} rows' if of.rows else f'{of.requests:,} requests'} refused since "
                f"{datetime.fromtimestamp(of.since_ns // 1_000_000_000, UTC):%H:%M:%S} UTC: {of.text}"
                for (signal, _), of in self._refused.items()
                if of.text and of.requests > 1 and 0 <= now - of.last_ns < _GOES_ON_NS
            ]

    def _due(self, signal: str, reason: Reason, rows: int) -> bool:
        """Note the refusal; whether the log should say it."""
        now = self._clock_ns()
        with self._lock:
            of = self._refused.get((signal, reason.code))
            if of is None or not 0 <= now - of.last_ns < _GOES_ON_NS:
                of = self._refused[signal, reason.code] = _Refused(now, now, now - _INTERVAL_NS, 0, 0, "")
            of.last_ns, of.text = now, reason.text
            of.requests += 1
            of.rows += rows
            if 0 <= now - of.said_ns < _INTERVAL_NS:
                return False
            of.said_ns = now
            return True
