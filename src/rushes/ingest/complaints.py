"""Says in the log what was refused, and seldom enough that a broken client can't fill it: the counters count."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from rushes.sdk import logs

__all__ = ["Complaints"]

_LOG: Final = logs.get_logger("ingest")
_INTERVAL_NS: Final = 60_000_000_000


class Complaints:
    """Log lines about refused telemetry, at most one a minute for each signal and reason. Safe for threads.

    Args:
        clock_ns: nanoseconds, now.
    """

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], int] = {}

    def refused(self, signal: str, reason: str) -> None:
        """Part of a request, or all of it, was refused for the reason that is counted under this name."""
        if self._due(signal, reason):
            _LOG.warning("ingest.refused", signal=signal, reason=reason)

    def store_failed(self, signal: str, error: Exception) -> None:
        """The store did not take a request."""
        if self._due(signal, "store"):
            _LOG.error("ingest.store.failed", signal=signal, error=str(error))

    def _due(self, signal: str, reason: str) -> bool:
        now = self._clock_ns()
        with self._lock:
            said = self._said.get((signal, reason))
            if said is not None and 0 <= now - said < _INTERVAL_NS:
                return False
            self._said[signal, reason] = now
            return True
