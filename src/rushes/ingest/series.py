"""The series that the store has had lately, each with a number, so that a known point costs one look-up.

A source's own bytes (the encoded attributes of a point, the labels of a remote write, a line of an exposition)
lead to the number, and the number to everything else. Labels are taken apart only for series that are new or have
to be written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa

from rushes.ingest.labels import series_id
from rushes.ingest.nested import Bools, Ints
from rushes.ingest.stats import Reason
from rushes.store.interface import Store

__all__ = ["TOO_MANY", "TOO_MANY_IN_ALL", "Series"]

_SWEEP_S: Final = 60
_FIRST: Final = 1024

TOO_MANY: Final = Reason("too_many_series", "the metric has too many series")
TOO_MANY_IN_ALL: Final = Reason("too_many_series_in_all", "there are too many series in all")


class Series:
    """Series by number. Not safe for threads: its owner holds a lock while it uses it.

    Args:
        per_metric: how many series a metric may have.
        in_all: how many series there may be.
        active_s: seconds without a sample after which a series no longer counts.
    """

    def __init__(self, *, per_metric: int, in_all: int, active_s: int) -> None:
        self._per_metric = per_metric
        self._in_all = in_all
        self._active_s = active_s
        self._ids = np.zeros(_FIRST, np.uint64)
        self._metric = np.zeros(_FIRST, np.int64)
        self._written = np.zeros(_FIRST, np.int64)  # when the store was last told of it; seconds
        self._used = np.zeros(_FIRST, np.int64)  # when it last had a sample; seconds, -1 for a free number
        self._used[:] = -1
        self._next = 0
        self._free: list[int] = []
        self._names: list[str] = []
        self._free_names: list[int] = []
        self._name_numbers: dict[str, int] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._keys: dict[int, int] = {}
        self._of_metric: Counter[int] = Counter()
        self._swept_s: dict[int, int] = {}
        self._swept_all_s: int | None = None
        self.on_sweep: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def load(self, store: Store, now_s: int) -> None:
        """Take over what the store has seen lately, so that a restart doesn't lift the limit. Once, at the start."""
        rows = store.query(
            "SELECT metric, series_id, max(toUnixTimestamp(last_seen)) AS seen FROM series "
            "WHERE last_seen >= toDateTime({since:Int64}) GROUP BY metric, series_id",
            {"since": max(0, now_s - self._active_s)},
        )
        count = rows.num_rows
        names = rows.column("metric").combine_chunks().dictionary_encode()
        numbers = np.array([self._name_number(name) for name in names.dictionary.to_pylist()], np.int64)
        of, identities = numbers[names.indices.to_numpy()], rows.column("series_id").to_numpy()
        self._grow(count)
        self._metric[:count], self._ids[:count] = of, identities
        self._written[:count] = self._used[:count] = rows.column("seen").to_numpy()
        self._numbers = dict(
            zip(zip(of.tolist(), identities.tolist(), strict=True), range(count), strict=True)
        )
        self._of_metric = Counter(of.tolist())
        self._next = count

    def find(self, keys: Iterable[bytes | str]) -> Ints:
        """The numbers that these sources' bytes lead to, -1 where they are not known."""
        get = self._keys.get
        return np.array([get(hash(key), -1) for key in keys], np.int64)

    def bind(self, key: bytes | str, number: int) -> None:
        """Let a source's bytes lead to the series."""
        if len(self._keys) > 8 * (len(self._numbers) + _FIRST):  # one series under ever new disguises
            self._keys.clear()
        self._keys[hash(key)] = number

    def admit(self, metric: str, labels: dict[str, str], now_s: int) -> tuple[int, bool] | Reason:
        """The number of a series, and whether it is new; or why it can't be had.

        Idle series are searched for at most once a minute: a flood of new ones costs no more than its refusal.
        """
        of, identity = self._name_numbers.get(metric, -1), series_id(metric, labels)
        number = self._numbers.get((of, identity))
        if number is not None:
            return number, False
        if len(self._numbers) >= self._in_all:
            if self._swept_all_s is None or not 0 <= now_s - self._swept_all_s < _SWEEP_S:
                self.sweep(now_s)
            if len(self._numbers) >= self._in_all:
                return TOO_MANY_IN_ALL
        if self._of_metric[of] >= self._per_metric:
            if not 0 <= now_s - self._swept_s.get(of, -_SWEEP_S) < _SWEEP_S:
                self._swept_s[of] = now_s
                self._forget(self._idle(now_s) & (self._metric == of))
            if self._of_metric[of] >= self._per_metric:
                return TOO_MANY
        number = self._taken(self._name_number(metric), identity)
        self._used[number] = now_s
        return number, True

    def sweep(self, now_s: int) -> None:
        """Forget the series that have been idle."""
        self._swept_all_s = now_s
        self._forget(self._idle(now_s))

    def sweep_when_due(self, now_s: int) -> None:
        """`sweep`, once in the time after which a series is idle."""
        if self._swept_all_s is None:
            self._swept_all_s = now_s
        elif not 0 <= now_s - self._swept_all_s < self._active_s:
            self.sweep(now_s)

    def hold(self, numbers: Ints, now_s: int) -> Ints:
        """The same numbers (-1: none), now in use: a sweep for new series can't give away what a batch has in hand."""
        self._used[numbers[numbers >= 0]] = now_s
        return numbers

    def use(self, numbers: Ints, now_s: int) -> Bools:
        """Note that these series have samples now; which of them the store has to be told of (again)."""
        self._used[numbers] = now_s
        due: Bools = self._written[numbers] < now_s - self._active_s // 2
        return due

    def wrote(self, numbers: Iterable[int], now_s: int) -> None:
        """The store has been told of these series."""
        self._written[list(numbers)] = now_s

    def metric(self, number: int) -> str:
        """The name of the series' metric."""
        return self._names[int(self._metric[number])]

    def id(self, number: int) -> int:
        """The series' identity in the store."""
        return int(self._ids[number])

    def columns(self, numbers: Ints) -> tuple[Any, Any]:
        """Metric and identity of each of these series, as the store's tables have them."""
        different, which = np.unique(self._metric[numbers], return_inverse=True)
        names = pa.array([self._names[number] for number in different.tolist()], pa.string())
        return names.take(pa.array(which)), pa.array(self._ids[numbers])

    def _name_number(self, metric: str) -> int:
        number = self._name_numbers.get(metric)
        if number is None:
            if self._free_names:
                number = self._free_names.pop()
                self._names[number] = metric
            else:
                number = len(self._names)
                self._names.append(metric)
            self._name_numbers[metric] = number
        return number

    def _taken(self, of: int, identity: int) -> int:
        if self._free:
            number = self._free.pop()
        else:
            number = self._next
            self._next += 1
            if number >= len(self._ids):
                self._grow(2 * len(self._ids))
        self._ids[number], self._metric[number], self._written[number] = identity, of, 0
        self._numbers[of, identity] = number
        self._of_metric[of] += 1
        return number

    def _grow(self, size: int) -> None:
        for name, rest in (("_ids", 0), ("_metric", 0), ("_written", 0), ("_used", -1)):
            old = getattr(self, name)
            new = np.full(max(size, len(old)), rest, old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def _idle(self, now_s: int) -> Bools:
        found: Bools = (self._used >= 0) & (self._used < now_s - self._active_s)
        return found

    def _forget(self, idle: Bools) -> None:
        numbers = np.flatnonzero(idle).tolist()
        if not numbers:
            return
        for number in numbers:
            of = int(self._metric[number])
            del self._numbers[of, int(self._ids[number])]
            self._of_metric[of] -= 1
            if not self._of_metric[of]:
                del self._of_metric[of], self._name_numbers[self._names[of]]
                self._swept_s.pop(of, None)
                self._free_names.append(of)
        self._used[numbers] = -1
        self._free += numbers
        gone = set(numbers)
        self._keys = {key: number for key, number in self._keys.items() if number not in gone}
        for called in self.on_sweep:
            called()
