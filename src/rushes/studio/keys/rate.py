"""A token bucket a key, in this process: with one gateway that is exact, and costs no write a request."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from rushes.studio.keys.key import ApiKey


class Left(NamedTuple):
    """What is left of a limit, and the seconds until all of it is there again."""

    limit: int
    remaining: int
    reset_s: float


class RateLimiter:
    """Lets each key through `rate_limit_per_minute` times a minute, that many at once at most.

    It comes first, before anybody looks at what is asked for: so it also limits what will be refused.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # key id: tokens left, and when

    def take(self, key: ApiKey) -> float:
        """Takes a token; returns 0 if there was one, else the seconds until there will be."""
        capacity = float(key.rate_limit_per_minute)
        if capacity <= 0:
            return 60.0
        with self._lock:
            now = self._clock()
            tokens = self._tokens(key, now)
            allowed = tokens >= 1.0
            self._buckets[key.id] = (tokens - 1.0 if allowed else tokens, now)
        return 0.0 if allowed else (1.0 - tokens) * 60.0 / capacity

    def left(self, key: ApiKey) -> Left:
        """What the key could take now, without taking anything."""
        capacity = float(key.rate_limit_per_minute)
        if capacity <= 0:
            return Left(0, 0, 60.0)
        with self._lock:
            tokens = self._tokens(key, self._clock())
        return Left(key.rate_limit_per_minute, int(tokens), (capacity - tokens) * 60.0 / capacity)

    def _tokens(self, key: ApiKey, now: float) -> float:
        capacity = float(key.rate_limit_per_minute)
        tokens, then = self._buckets.get(key.id, (capacity, now))
        return min(capacity, tokens + (now - then) * capacity / 60.0)
