"""What is acceptable, decided for whole columns: timestamps against the clock, and each refusal with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushes.ingest.nested import Bools
from rushes.ingest.stats import Reason, Refusals

__all__ = ["Clockwork", "checked"]


class Clockwork:
    """Which timestamps are acceptable now: not older than retention, not far in the future."""

    def __init__(self, now_ns: int, retention_s: int, future_s: int) -> None:
        self.now_ns = now_ns
        self._oldest = max(0, now_ns - retention_s * 1_000_000_000)
        self._newest = max(0, now_ns + future_s * 1_000_000_000)
        self._old = Reason("too_old", f"timestamp older than the retention of {retention_s} s")
        self._future = Reason("in_the_future", f"timestamp more than {future_s} s in the future")

    def complaint(self, ts_ns: int) -> Reason | None:
        """Why this timestamp is refused, or None."""
        if ts_ns < self._oldest:
            return self._old
        if ts_ns > self._newest:
            return self._future
        return None

    def complaints(self, ts: Any, unit_ns: int = 1) -> list[tuple[Reason, Bools]]:
        """Which of the timestamps, in units of `unit_ns`, are refused, and why."""
        return [(self._old, ts < self._oldest // unit_ns), (self._future, ts > self._newest // unit_ns)]


def checked(complaints: Sequence[tuple[Reason, Bools]], refusals: Refusals) -> Bools:
    """Which rows no complaint is about; the others are refused for the first."""
    keep: Bools = np.ones(len(complaints[0][1]), bool)
    for reason, bad in complaints:
        if bad.any():
            refusals.refuse(reason, int((bad & keep).sum()))
            keep &= ~bad
    return keep
