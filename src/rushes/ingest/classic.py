"""Histograms with explicit bounds, the classic way of Prometheus: cumulative `_bucket{le}`, `_count` and `_sum`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from rushes.ingest.batch import Batch
from rushes.ingest.columns import checked
from rushes.ingest.histograms import STALE, Bucketed, malformed, too_many_buckets
from rushes.ingest.labels import le
from rushes.ingest.nested import Ints, as_bools, owners, starts
from rushes.ingest.points import NS_PER_MS, Points
from rushes.ingest.stats import Reason

__all__ = ["Classic", "Known", "admitted", "defect", "put"]

_NO_SUM: Final = -1


@dataclass(frozen=True, slots=True)
class Known:
    """The series that a histogram with these bounds is kept in."""

    bounds: bytes
    buckets: Ints
    count: int
    sum: int

    @property
    def all(self) -> list[int]:
        """All of them."""
        return [*self.buckets.tolist(), *(number for number in (self.count, self.sum) if number != _NO_SUM)]

    def bucket(self, value: float) -> int:
        """The series that a value is first counted in."""
        bounds = np.frombuffer(self.bounds, np.float64)
        return int(self.buckets[np.searchsorted(bounds, value)])  # not-a-number comes last


class Classic:
    """Takes histograms, and knows the series of those that it has seen."""

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}

    def forget(self) -> None:
        """Forget the series: some of them are no more."""
        self._known.clear()

    def take(self, points: Points) -> None:
        """Add the acceptable points to their batch."""
        points = points.taken(checked(_complaints(points), points.batch.refusals))
        if not points.columns.num_rows:
            return
        found = self._series(points)
        counts = points.columns.column("counts")
        per_point = pc.list_value_length(counts).to_numpy()
        ts, ended = points.ts_ms, points.ended
        total, sums = points.number("count"), pc.fill_null(points.columns.column("sum"), 0.0).to_numpy()
        has_sum = as_bools(pc.is_valid(points.columns.column("sum")))
        below = _cumulative(counts)
        numbers: list[Ints] = []
        places: list[Ints] = []
        for point, known in enumerate(found):
            if known is None:
                continue
            if ended[point] or per_point[point] != len(known.buckets):
                # One that has ended names no buckets; one without buckets has only +Inf.
                _by_hand(points.batch, known, int(ts[point]), float(total[point]), ended=bool(ended[point]))
            else:
                numbers.append(known.buckets)
                places.append(np.full(len(known.buckets), point))
            rest = STALE if ended[point] else float(sums[point])
            points.batch.sample(known.count, int(ts[point]), STALE if ended[point] else float(total[point]))
            if known.sum != _NO_SUM and (has_sum[point] or ended[point]):
                points.batch.sample(known.sum, int(ts[point]), rest)
        if numbers:
            place = np.concatenate(places)
            wanted = np.zeros(len(found), bool)
            wanted[place] = True
            points.batch.samples(np.concatenate(numbers), ts[place], below[np.repeat(wanted, per_point)])
        points.exemplars(lambda point, value: of.bucket(value) if (of := found[point]) else -1)

    def _series(self, points: Points) -> list[Known | None]:
        keys = points.keys()
        lists = points.columns.column("bounds")
        offsets = (starts(lists) * 8).tolist()
        raw = lists.flatten().to_numpy().tobytes()
        has_sum = as_bools(pc.is_valid(points.columns.column("sum")))
        ended = points.ended
        found: list[Known | None] = []
        for point, key in enumerate(keys):
            known = self._known.get(hash(key))
            if known is not None:  # held at once, as a sweep for another point's series must not free it
                points.batch.series.hold(np.array(known.all), points.batch.now_s)
            bounds = raw[offsets[point] : offsets[point + 1]]
            if known is None or (
                not ended[point] and (known.bounds != bounds or (has_sum[point] and known.sum == _NO_SUM))
            ):
                known = self._admitted(points, point, bounds)
                if known is not None:
                    self._known[hash(key)] = known
            found.append(known)
        self._told(points, found)
        return found

    def _admitted(self, points: Points, point: int, bounds: bytes) -> Known | None:
        labels = points.labels(point, room=1)
        if labels is None:
            return None
        column = points.columns.column
        start, ts = int(points.number("start")[point]) // NS_PER_MS, int(points.ts_ms[point])
        uppers = np.frombuffer(bounds, np.float64).tolist()
        return admitted(
            points.batch,
            points.metrics[points.metric_of[point]].name,
            labels,
            uppers,
            with_sum=column("sum")[point].is_valid,
            span=(start, ts),
        )

    @staticmethod
    def _told(points: Points, found: list[Known | None]) -> None:
        """Tell the store again of the series that are due."""
        batch = points.batch
        told = set(batch.told)
        for point, known in enumerate(found):
            if known is None:
                continue
            mine = np.array(known.all)
            due = [n for n in mine[batch.series.use(mine, batch.now_s)].tolist() if n not in told]
            if not due:
                continue
            labels = points.labels(point, room=1)
            if labels is None:
                continue
            labels.pop("le", None)
            uppers = [*np.frombuffer(known.bounds, np.float64).tolist(), math.inf]
            of = {n: labels | {"le": le(u)} for n, u in zip(known.buckets.tolist(), uppers, strict=True)}
            for number in due:
                batch.tell(number, of.get(number, labels))


def admitted(
    batch: Batch,
    name: str,
    labels: dict[str, str],
    bounds: list[float],
    *,
    with_sum: bool,
    span: tuple[int, int],
) -> Known | None:
    """The series of a histogram; None, counted, if there is no room for all: half a histogram would be a wrong one."""
    labels.pop("le", None)
    wanted = [(f"{name}_bucket", labels | {"le": le(upper)}) for upper in (*bounds, math.inf)]
    wanted.append((f"{name}_count", labels))
    if with_sum:
        wanted.append((f"{name}_sum", labels))
    numbers = []
    for metric, of in wanted:
        found = batch.admit(metric, of)
        if found is None:
            return None
        numbers.append(found)
    for number, new in numbers:
        if new:
            batch.born(number, *span)
    only = [number for number, _ in numbers]
    buckets = len(bounds) + 1
    return Known(
        np.array(bounds, np.float64).tobytes(),
        np.array(only[:buckets], np.int64),
        only[buckets],
        only[buckets + 1] if with_sum else _NO_SUM,
    )


def put(batch: Batch, known: Known, ts_ms: int, of: Bucketed) -> None:
    """Add one histogram to the batch."""
    for number, below in zip(known.buckets.tolist(), accumulate(of.counts), strict=True):
        batch.sample(number, ts_ms, float(below))
    batch.sample(known.count, ts_ms, float(of.count))
    if known.sum != _NO_SUM and of.sum is not None:
        batch.sample(known.sum, ts_ms, of.sum)


def defect(of: Bucketed) -> str | None:
    """What contradicts itself in a histogram."""
    if (of.counts or of.bounds) and len(of.counts) != len(of.bounds) + 1:
        return "doesn't have one bucket more than bounds"
    if not all(low < high for low, high in pairwise(of.bounds)) or any(map(math.isnan, of.bounds)):
        return "has bounds that don't rise"
    if of.counts and sum(of.counts) != of.count:
        return "has buckets that don't add up to its count"
    return None


def _complaints(points: Points) -> list[tuple[Reason, Any]]:
    bounds, counts = points.columns.column("bounds"), points.columns.column("counts")
    n_bounds, n_counts = (pc.list_value_length(of).to_numpy() for of in (bounds, counts))
    flat, offsets = bounds.flatten().to_numpy(), starts(bounds)
    # A bound must be above the one before it, unless it is the first of its point; not-a-number is above nothing.
    falling = np.isnan(flat)
    falling[1:] |= ~(flat[1:] > flat[:-1])
    falling[offsets[:-1][n_bounds > 0]] = np.isnan(flat[offsets[:-1][n_bounds > 0]])
    owner = owners(bounds)
    fall = np.zeros(len(n_bounds), bool)
    fall[owner[falling]] = True
    total = np.zeros(len(n_counts), np.uint64)
    np.add.at(total, owners(counts), counts.flatten().to_numpy())
    return [
        *points.clock.complaints(points.number("time")),
        (too_many_buckets(points.batch.limits), n_counts > points.batch.limits.buckets),
        (too_many_buckets(points.batch.limits), n_bounds >= points.batch.limits.buckets),
        (
            malformed("doesn't have one bucket more than bounds"),
            (n_counts != n_bounds + 1) & (n_counts + n_bounds > 0),
        ),
        (malformed("has bounds that don't rise"), fall),
        (
            malformed("has buckets that don't add up to its count"),
            (n_counts > 0) & (total != points.number("count")),
        ),
    ]


def _cumulative(counts: Any) -> Any:
    """Of each list of counts, how many are in a bucket or below."""
    flat, offsets = counts.flatten().to_numpy().astype(np.float64), starts(counts)
    running = np.concatenate([[0.0], np.cumsum(flat)])
    return running[1:] - np.repeat(running[offsets[:-1]], np.diff(offsets))


def _by_hand(batch: Batch, known: Known, ts_ms: int, count: float, *, ended: bool) -> None:
    for number in known.buckets.tolist() if ended else known.buckets.tolist()[-1:]:
        batch.sample(number, ts_ms, STALE if ended else count)
