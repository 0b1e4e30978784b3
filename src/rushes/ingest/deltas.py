"""Delta temporality: what each point adds is added up here, since the store keeps what was counted in all.

The sums live in this process. After a restart a series begins at zero again, which PromQL's rate() and increase()
take for what it is: a counter's reset. A point that is not newer than the last one of its series is refused: added
again, a client's repetition would be counted twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from rushes.ingest.exponential import summed
from rushes.ingest.histograms import Bucketed, Native
from rushes.ingest.stats import Reason

__all__ = ["OUT_OF_ORDER", "Deltas", "Sums"]

OUT_OF_ORDER: Final = Reason("delta_out_of_order", "delta point is not newer than the last one of its series")
_SWEEP_S: Final = 60


class _Total(NamedTuple):
    ts_ns: int
    used_s: int
    value: float | Bucketed | Native


class Deltas:
    """What every series has counted in all. Safe for threads."""

    def __init__(self, active_s: int) -> None:
        self._active_s = active_s
        self._lock = threading.Lock()
        self._totals: dict[bytes, _Total] = {}
        self._swept_s = 0

    @contextmanager
    def request(self, now_s: int, *, adds: bool) -> Iterator[Sums]:
        """What one request adds: counted when the block ends, and not at all if it ends in an exception.

        Requests that add anything wait for each other, from here to what makes it durable: one builds on the other.
        """
        if not adds:
            yield Sums({}, now_s)
            return
        with self._lock:
            sums = Sums(self._totals, now_s)
            yield sums
            self._totals.update(sums.coming)
            if not 0 <= now_s - self._swept_s < _SWEEP_S:
                self._swept_s = now_s
                oldest = now_s - self._active_s
                for key in [key for key, of in self._totals.items() if of.used_s < oldest]:
                    del self._totals[key]


class Sums:
    """The sums of one request."""

    def __init__(self, totals: Mapping[bytes, _Total], now_s: int) -> None:
        self.coming: dict[bytes, _Total] = {}
        self._totals = totals
        self._now_s = now_s

    def last(self, key: bytes) -> Any:
        """What the series has counted in all so far, None if it is new."""
        total = self._total(key)
        return None if total is None else total.value

    def add(self, key: bytes, ts_ns: int, value: Any) -> Any:
        """What the series has counted in all, this point included, or None if the point is not newer than the last.

        A histogram with other bounds than before begins anew.
        """
        last = self._total(key)
        if last is not None and ts_ns <= last.ts_ns:
            return None
        total = value if last is None else _sum(last.value, value)
        self.coming[key] = _Total(ts_ns, self._now_s, total)
        return total

    def _total(self, key: bytes) -> _Total | None:
        return self.coming.get(key) or self._totals.get(key)


def _sum(before: Any, value: Any) -> Any:
    match before, value:
        case Bucketed(), Bucketed() if before.bounds == value.bounds and len(before.counts) == len(
            value.counts
        ):
            counts = [one + other for one, other in zip(before.counts, value.counts, strict=True)]
            total = None if before.sum is None or value.sum is None else before.sum + value.sum
            return Bucketed(before.bounds, counts, before.count + value.count, total)
        case Native(), Native():
            return summed(before, value)
        case float(), float():
            return before + value
        case _:
            return value
