"""How long a query may take: every node of an evaluation asks before it begins, and the store is told what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rushes.query.promql.model import PromQLError

__all__ = ["Deadline"]

_MIN_S: Final = 0.001


class Deadline:
    """A moment after which a query is given up. May be cancelled from any thread.

    Args:
        seconds: how long from now; infinity is allowed.
        clock: seconds that never go back.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._cancelled = False

    def cancel(self) -> None:
        """Give the query up at its next check, since nobody waits for it any more."""
        self._cancelled = True

    def remaining(self) -> float:
        """Seconds left, at least a millisecond."""
        return max(self._end - self._clock(), _MIN_S)

    def check(self) -> None:
        """Go on, or not.

        Raises:
            PromQLError: "timeout" or "canceled".
        """
        if self._cancelled:
            raise PromQLError("canceled", "query was canceled in expression evaluation")
        if self._clock() >= self._end:
            raise PromQLError("timeout", "query timed out in expression evaluation")
