"""Samples out of the store, one query a selector, and where each step's window lies in them.

All series lie one after another in flat arrays; a window is a pair of positions, so that functions work on
every window of every series at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import promql_parser as parser
import pyarrow as pa

from rushes.query.promql.matching import by_metric_alone, condition, on_metric
from rushes.query.promql.model import (
    Floats,
    Integers,
    Labels,
    Mask,
    Objects,
    PromQLError,
    Vector,
    is_histogram,
)
from rushes.query.promql.native import Buckets, Histogram
from rushes.query.promql.reader import Reader
from rushes.store.interface import Param

__all__ = [
    "STALE",
    "Grid",
    "Windows",
    "chosen",
    "has_histograms",
    "milliseconds",
    "newest",
    "numbers",
    "of_steps",
    "windows",
]

STALE: Final = 0x7FF0000000000002

_BETWEEN: Final = (
    "ts > fromUnixTimestamp64Milli({after:Int64}) AND ts <= fromUnixTimestamp64Milli({until:Int64})"
)

_MAX_MS: Final = 2**63 - 1
_FARTHEST_MS: Final = (
    9_000_000_000_000  # the year 2255: what the store's times reach, with no samples so far out
)

# In the order that they are stored in: to merge parts costs the store less than lists, or sorting, would.
_SAMPLES: Final = """
SELECT series_id, toUnixTimestamp64Milli(ts) AS ts_ms, value AS sample
FROM samples WHERE %s ORDER BY series_id, ts LIMIT {limit:UInt64}"""

_HISTOGRAMS: Final = """
SELECT series_id, toUnixTimestamp64Milli(ts) AS ts_ms, count, sum, schema, gauge, zero_threshold, zero_count,
  positive_indices, positive_counts, negative_indices, negative_counts, custom_bounds
FROM histograms WHERE %s ORDER BY series_id, ts LIMIT 1 BY series_id, ts LIMIT {limit:UInt64}"""


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps of a query: times in milliseconds, and its start and end for `@ start()` and `@ end()`."""

    times: Integers
    start: int
    end: int

    def seen_by(self, of: parser.VectorSelector | parser.SubqueryExpr) -> Integers:
        """The times that a selector looks at, after its `@` and offset."""
        times = self.times
        if of.at is not None:
            match of.at.type:
                case parser.AtModifierType.Start:
                    moment = self.start
                case parser.AtModifierType.End:
                    moment = self.end
                case _:
                    moment = _moment(of.at)
            times = np.full_like(times, moment)
        return times - milliseconds(of.offset)


def _moment(at: Any) -> int:
    """The time of an `@` in milliseconds. From its text: as a date, the parser can't give years beyond 9999."""
    seconds = float(str(at).removeprefix("@").strip())
    if abs(seconds) * 1000 > _MAX_MS:
        raise PromQLError("bad_data", f"timestamp out of bounds for @ modifier: {seconds:f}")
    return max(-_FARTHEST_MS, min(round(seconds * 1000), _FARTHEST_MS))


@dataclass(slots=True)
class Windows:
    """The windows (t - range, t] of a selector: positions [low, high) of row s (series) and column t (step).

    `histograms`, if there, has a native histogram where the sample is one and None elsewhere. `steps` are the
    query's own times, `times` those that are looked at; both in milliseconds.
    """

    labels: list[Labels]
    ts: Integers
    values: Floats
    owner: Integers
    low: Integers
    high: Integers
    times: Integers
    steps: Integers
    range_ms: int
    histograms: Objects | None = None

    @property
    def filled(self) -> Mask:
        """Where there is at least one sample."""
        return self.high > self.low

    @property
    def floats(self) -> Windows:
        """The same windows without the samples that are native histograms."""
        if self.histograms is None:
            return self
        number = ~is_histogram(self.histograms)
        before = np.concatenate([[0], np.cumsum(number)])
        return Windows(
            self.labels,
            self.ts[number],
            self.values[number],
            self.owner[number],
            before[self.low],
            before[self.high],
            self.times,
            self.steps,
            self.range_ms,
        )


def milliseconds(duration: timedelta | None) -> int:
    """A duration in whole milliseconds, 0 for none."""
    return 0 if duration is None else duration // timedelta(milliseconds=1)


def newest(of: Windows) -> tuple[Vector, Integers]:
    """The newest sample in each window, unless it is stale, and when it was taken (milliseconds)."""
    if not len(of.values):
        return Vector.empty(len(of.steps)), np.empty((0, len(of.steps)), dtype=np.int64)
    at = np.maximum(of.high - 1, 0)
    values = of.values[at]
    present = of.filled & (values.view(np.uint64) != STALE)
    histograms = None if of.histograms is None else of.histograms[at]
    return Vector(of.labels, values, present, histograms), of.ts[at]


def windows(
    reader: Reader, of: parser.VectorSelector, grid: Grid, range_ms: int, *, stale: bool = False
) -> Windows:
    """The samples of a selector; stale markers are none, unless they are asked for.

    Raises:
        PromQLError: the selector can't be evaluated, or finds too much.
    """
    times = grid.seen_by(of)
    after, until = int(times.min()) - range_ms, int(times.max())
    labels, owner, ts, values = _samples(reader, of, after, until)
    histograms: Objects | None = None
    if has_histograms(reader, of):
        found = _histograms(reader, of, after, until, {_key(each): row for row, each in enumerate(labels)})
        if found.labels or len(found.owner):
            labels = labels + found.labels
            histograms = np.concatenate([np.full(len(ts), None, dtype=np.object_), found.histograms])
            owner, ts = np.concatenate([owner, found.owner]), np.concatenate([ts, found.ts])
            values = np.concatenate([values, found.values])
            order = np.lexsort((ts, owner))
            owner, ts, values, histograms = owner[order], ts[order], values[order], histograms[order]
    reader.bound(len(ts))
    reader.bound(len(labels) * len(times))
    if not stale:
        real = values.view(np.uint64) != STALE
        if not real.all():
            owner, ts, values = owner[real], ts[real], values[real]
            histograms = None if histograms is None else histograms[real]
    return _cut(Windows(labels, ts, values, owner, ts, ts, times, grid.times, range_ms, histograms))


def _cut(of: Windows) -> Windows:
    """Find each window's positions: one search for all, since a series' samples lie between multiples of `span`."""
    origin = int(of.times.min()) - of.range_ms
    span = int(of.times.max()) - origin + 1
    keys = of.owner * span + (of.ts - origin)
    bases = np.arange(len(of.labels), dtype=np.int64)[:, None] * span
    of.high = np.searchsorted(keys, bases + (of.times - origin)[None, :], side="right")
    of.low = np.searchsorted(keys, bases + (of.times - of.range_ms - origin)[None, :], side="right")
    return of


def of_steps(vector: Vector, inner: Integers, times: Integers, steps: Integers, range_ms: int) -> Windows:
    """The windows of a subquery: what an expression gave at its own steps `inner`."""
    owner, column = np.nonzero(vector.present)
    histograms = None if vector.histograms is None else vector.histograms[owner, column]
    values = vector.values[owner, column]
    ts = inner[column]
    return _cut(Windows(vector.labels, ts, values, owner, ts, ts, times, steps, range_ms, histograms))


def has_histograms(reader: Reader, of: parser.VectorSelector) -> bool:
    """Whether any metric that the selector may mean has native histograms at all."""
    where, params = on_metric(of)
    return bool(reader.table(f"SELECT 1 AS one FROM histograms WHERE {where} LIMIT 1", params).num_rows)


def chosen(of: parser.VectorSelector, after: int, until: int) -> tuple[str, dict[str, Param]]:
    """SQL on `metric`, `series_id` and `ts` for the samples of a selector in (after, until]."""
    where, params = on_metric(of)
    if not by_metric_alone(of):
        condition_, more = condition(of)
        where += f" AND series_id IN (SELECT series_id FROM series WHERE {condition_})"
        params |= more
    return f"{where} AND {_BETWEEN}", params | {"after": after, "until": until}


def numbers(array: Any) -> Any:
    """An Arrow array's numbers; chunked arrays of no chunk are empty."""
    return array.to_numpy(zero_copy_only=False)


def _samples(
    reader: Reader, of: parser.VectorSelector, after: int, until: int
) -> tuple[list[Labels], Integers, Integers, Floats]:
    where, params = chosen(of, after, until)
    table = reader.table(_SAMPLES % where, params | {"limit": reader.max_samples + 1})
    reader.bound(table.num_rows)
    ids, ts = numbers(table["series_id"]), numbers(table["ts_ms"]).astype(np.int64, copy=False)
    values = numbers(table["sample"]).astype(np.float64, copy=False)
    begins = np.flatnonzero(np.diff(ids, prepend=ids[:1] ^ 1))
    sizes = np.diff(begins, append=len(ids))
    labels, known = reader.labelled(pa.table({"series_id": ids[begins], "row": np.arange(len(begins))}))
    rows = numbers(known["row"])
    if len(rows) < len(begins):
        kept = np.repeat(np.isin(np.arange(len(begins)), rows), sizes)
        ts, values = ts[kept], values[kept]
    owner = np.repeat(np.arange(len(rows), dtype=np.int64), sizes[rows])
    return labels, *_once(owner, ts, values)


def _once(owner: Integers, ts: Integers, values: Floats) -> tuple[Integers, Integers, Floats]:
    """Of samples of a series with one time the greatest stays, as the store itself chooses."""
    again = (ts[1:] == ts[:-1]) & (owner[1:] == owner[:-1])
    if again.any():
        order = np.lexsort((values, ts, owner))
        last = np.append(~again, True)
        owner, ts, values = owner[order][last], ts[order][last], values[order][last]
    return owner, ts, values


@dataclass(slots=True)
class _Found:
    """Histogram samples; `labels` are those of series that aren't known yet."""

    labels: list[Labels]
    owner: Integers
    ts: Integers
    values: Floats
    histograms: Objects


def _histograms(
    reader: Reader, of: parser.VectorSelector, after: int, until: int, rows: dict[Any, int]
) -> _Found:
    where, params = chosen(of, after, until)
    table = reader.table(_HISTOGRAMS % where, params | {"limit": reader.max_samples + 1})
    of_rows, table = reader.labelled(table)
    labels: list[Labels] = []
    known = dict(rows)
    owner: list[int] = []
    for of_row in of_rows:
        key = _key(of_row)
        if key not in known:
            known[key] = len(known)
            labels.append(of_row)
        owner.append(known[key])
    histograms = np.full(table.num_rows, None, dtype=np.object_)
    for row, each in enumerate(table.to_pylist()):
        histograms[row] = Histogram(
            each["schema"],
            each["count"],
            each["sum"],
            each["zero_threshold"],
            each["zero_count"],
            _buckets(each["positive_indices"], each["positive_counts"]),
            _buckets(each["negative_indices"], each["negative_counts"]),
            tuple(each["custom_bounds"]),
            bool(each["gauge"]),
        )
    ts = numbers(table["ts_ms"]).astype(np.int64, copy=False)
    sums = numbers(table["sum"]).astype(np.float64, copy=False)
    # A histogram's marker stands in its sum; as a sample of numbers every histogram is none.
    values = np.where(sums.view(np.uint64) == STALE, sums, np.nan)
    return _Found(labels, np.array(owner, dtype=np.int64), ts, values, histograms)


def _buckets(indices: list[int], counts: list[float]) -> Buckets:
    at = np.array(indices, dtype=np.int64)
    order = np.argsort(at)
    return Buckets(at[order], np.array(counts, dtype=np.float64)[order])


def _key(labels: Labels) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())
