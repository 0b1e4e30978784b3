"""The store's upkeep: room by size, a watch on disk and clock, and its figures for whoever asks.

Retention by time is the engine's (TTL). By size there is none, so whole days go here, oldest first, of whichever table
is largest; only where a table's newest day alone is too much do its oldest hours go, and never the last one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from rushes.store.interface import Partition, StoreError
from rushes.store.schema import TTL_COLUMNS
from rushes.store.sql_store import SqlStore

__all__ = ["Figures", "Upkeep"]

_logger = logging.getLogger(__name__)
_INTERVAL_S: Final = 30.0
_LOW_DISK: Final = 512 << 20
_BACK_S: Final = 5.0  # a clock that is set right by less is no news
# Cutting writes what stays anew: more goes at once, so that it is seldom.
_CUT_TO: Final = 0.9
_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True, slots=True)
class Figures:
    """What the store takes, as of the last look.

    Attributes:
        rows, bytes, parts: by table; bytes are compressed, indexes included.
        dropped_rows, dropped_bytes: by table, what went for lack of room since the start.
        memory: bytes that the engine has allocated.
        disk_free: bytes free where the rows are; None where that is no local disk.
    """

    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    dropped_rows: dict[str, int] = field(default_factory=dict)
    dropped_bytes: dict[str, int] = field(default_factory=dict)
    memory: int | None = None
    disk_free: int | None = None


class Upkeep:
    """Looks after a store, in a thread of its own once it is started.

    Args:
        store: what to look after; it is not closed.
        max_bytes: what all tables may take together; None for no limit.
        clock: seconds since the epoch, now.
        monotonic: seconds, never going back.
    """

    def __init__(
        self,
        store: SqlStore,
        *,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"the store's size must be at least a byte, not {max_bytes}")
        self._store = store
        self._max_bytes = max_bytes
        self._clock = clock
        self._monotonic = monotonic
        self._expected = clock() - monotonic()  # what their difference stays while nobody sets the clock
        self._clock_back: tuple[float, float] | None = None  # by how much, and until when it matters
        self._dropped_rows: Counter[str] = Counter()
        self._dropped_bytes: Counter[str] = Counter()
        self._figures = Figures()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rushes-upkeep", daemon=True)

    @property
    def figures(self) -> Figures:
        """As of the last look. Does not block."""
        return self._figures

    def start(self) -> None:
        """Look now and every half minute."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking. Blocks until a look that has begun ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Look once: at the clock, at the size, at the disk. Blocks.

        Raises:
            StoreError: the store does not answer.
        """
        self._look_at_clock()
        partitions = self._store.partitions()
        # What a cut that has not ended yet will free is counted still: another one would remove too much.
        if (
            self._max_bytes is not None
            and _size(partitions) > self._max_bytes
            and not self._store.is_cutting()
        ):
            self._make_room(partitions, self._max_bytes)
            partitions = self._store.partitions()
        self._figures = Figures(
            rows=_by_table(partitions, lambda p: p.rows),
            bytes=_by_table(partitions, lambda p: p.bytes),
            parts=_by_table(partitions, lambda p: p.parts),
            dropped_rows=dict(self._dropped_rows),
            dropped_bytes=dict(self._dropped_bytes),
            memory=self._store.memory(),
            disk_free=self._store.disk_free(),
        )
        self._store.release_memory()

    def problems(self) -> list[str]:
        """What is wrong with the store now, each in words for a page. Does not block."""
        found = self._store.problems()
        free = self._figures.disk_free
        if free is not None and free < _LOW_DISK:
            found.append(f"the store's disk has only {_shown(free)} left")
        if self._clock_back is not None:
            by, until = self._clock_back
            found.append(
                f"this machine's clock was set back by {by:.0f} s: what was stored before is dated in the "
                f"future until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC"
            )
        return found

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except StoreError as error:
                _logger.warning("the store can't be looked after: %s", error)
            self._stop.wait(_INTERVAL_S)

    def _look_at_clock(self) -> None:
        now = self._clock()
        back = self._expected - (now - self._monotonic())
        if back > _BACK_S:
            until = max(now + back, self._clock_back[1] if self._clock_back else 0)
            self._clock_back = (until - now, until)
            _logger.warning("the clock was set back by %.0f s", back)
        elif self._clock_back is not None and now >= self._clock_back[1]:
            self._clock_back = None
        self._expected -= back

    def _make_room(self, partitions: list[Partition], limit: int) -> None:
        left = list(partitions)
        while _size(left) > limit:
            old = _oldest_of_largest(left)
            if old is None:
                self._cut_newest(left, limit)
                return
            self._store.drop(old)
            self._dropped(old, old.rows, old.bytes, f"the day {old.id}")
            left.remove(old)

    def _cut_newest(self, partitions: list[Partition], limit: int) -> None:
        """Remove hours of the newest days, when those alone are too much."""
        excess = _size(partitions) - int(limit * _CUT_TO)
        for newest in sorted(partitions, key=lambda p: -p.bytes):
            if excess <= 0:
                return
            if newest.id == "all" or not newest.rows:  # of tables that aren't divided by time
                continue
            hours, gone, end = self._store.hours(newest), 0, 0
            for (_, rows), (following, _) in pairwise(hours):
                if gone * newest.bytes / newest.rows >= excess:
                    break
                gone, end = gone + rows, following
            if gone:
                self._store.cut(newest, end)
                freed = gone * newest.bytes // newest.rows
                excess -= freed
                self._dropped(
                    newest, gone, freed, f"hours before {datetime.fromtimestamp(end, UTC):%F %H:%M}"
                )

    def _dropped(self, of: Partition, rows: int, size: int, what: str) -> None:
        self._dropped_rows[of.table] += rows
        self._dropped_bytes[of.table] += size
        _logger.warning(
            "the store is larger than %s: dropped %s of %s, %d rows, %s",
            _shown(self._max_bytes or 0), what, of.table, rows, _shown(size),
        )  # fmt: skip


def _oldest_of_largest(partitions: list[Partition]) -> Partition | None:
    """The oldest day of the largest table that has more than one; None if none has."""
    days: dict[str, list[Partition]] = {}
    for partition in partitions:
        days.setdefault(partition.table, []).append(partition)
    several = [table for table in days.values() if len(table) > 1]
    if not several:
        return None
    largest = max(several, key=_size)
    return min(largest, key=lambda p: p.id)


def _size(partitions: Iterable[Partition]) -> int:
    return sum(partition.bytes for partition in partitions)


def _by_table(partitions: list[Partition], figure: Callable[[Partition], int]) -> dict[str, int]:
    found: dict[str, int] = dict.fromkeys(TTL_COLUMNS, 0)
    for partition in partitions:
        found[partition.table] += figure(partition)
    return found


def _shown(size: int) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
