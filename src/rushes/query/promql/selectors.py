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

from rushes.query.promql.matching import condition
from rushes.query.promql.model import (
    MAX_POINTS,
    NAME,
    Floats,
    Integers,
    Labels,
    Mask,
    PromQLError,
    Vector,
)
from rushes.store.interface import Store, StoreError, StoreQueryError

__all__ = ["Grid", "Windows", "instant_vector", "milliseconds", "windows"]

_STALE: Final = 0x7FF0000000000002

_SQL: Final = """
WITH matched AS (
  SELECT metric, series_id, any(labels) AS of_series FROM series WHERE %s GROUP BY metric, series_id
)
SELECT metric, of_series, ts_ms, sample FROM (
  SELECT metric, series_id,
    groupArray(toUnixTimestamp64Milli(ts)) AS ts_ms, groupArray(value) AS sample
  FROM samples
  WHERE metric IN (SELECT metric FROM matched) AND series_id IN (SELECT series_id FROM matched)
    AND ts > fromUnixTimestamp64Milli({after:Int64}) AND ts <= fromUnixTimestamp64Milli({until:Int64})
  GROUP BY metric, series_id
) AS found INNER JOIN matched USING (metric, series_id)"""


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps of a query: times in milliseconds, and its start and end for `@ start()` and `@ end()`."""

    times: Integers
    start: int
    end: int

    def seen_by(self, of: parser.VectorSelector) -> Integers:
        """The times that a selector looks at, after its `@` and offset."""
        times = self.times
        if of.at is not None:
            match of.at.type:
                case parser.AtModifierType.Start:
                    moment = self.start
                case parser.AtModifierType.End:
                    moment = self.end
                case _:
                    moment = 0 if of.at.at is None else round(of.at.at.timestamp() * 1000)
            times = np.full_like(times, moment)
        return times - milliseconds(of.offset)


@dataclass(slots=True)
class Windows:
    """The windows (t - range, t] of a selector: positions [low, high) of row s (series) and column t (step)."""

    labels: list[Labels]
    ts: Integers
    values: Floats
    owner: Integers
    low: Integers
    high: Integers
    times: Integers
    range_ms: int

    @property
    def filled(self) -> Mask:
        """Where there is at least one sample."""
        return self.high > self.low


def milliseconds(duration: timedelta | None) -> int:
    """A duration in whole milliseconds, 0 for none."""
    return 0 if duration is None else duration // timedelta(milliseconds=1)


def instant_vector(store: Store, of: parser.VectorSelector, grid: Grid, lookback_ms: int) -> Vector:
    """The newest sample of each series at each step, unless it is stale or older than the lookback."""
    found = _windows(store, of, grid, lookback_ms, stale=True)
    if not found.labels:
        return Vector.empty(len(grid.times))
    newest = np.maximum(found.high - 1, 0)
    values = found.values[newest]
    present = found.filled & (values.view(np.uint64) != _STALE)
    return Vector(found.labels, values, present).unique()


def windows(store: Store, of: parser.MatrixSelector, grid: Grid) -> Windows:
    """The samples of a range selector; stale markers are no samples."""
    return _windows(store, of.vector_selector, grid, milliseconds(of.range), stale=False)


def _windows(store: Store, of: parser.VectorSelector, grid: Grid, range_ms: int, *, stale: bool) -> Windows:
    times = grid.seen_by(of)
    labels, owner, ts, values = _fetch(store, of, int(times.min()) - range_ms, int(times.max()))
    if len(labels) * len(times) > MAX_POINTS:
        raise PromQLError(
            "execution",
            f"{len(labels)} series over {len(times)} steps are too many points: narrow the selector or widen the step",
        )
    if not stale:
        real = values.view(np.uint64) != _STALE
        owner, ts, values = owner[real], ts[real], values[real]
    # One search for all: a series' samples lie between multiples of `span`.
    origin = int(times.min()) - range_ms
    span = int(times.max()) - origin + 1
    keys = owner * span + (ts - origin)
    bases = np.arange(len(labels), dtype=np.int64)[:, None] * span
    high = np.searchsorted(keys, bases + (times - origin)[None, :], side="right")
    low = np.searchsorted(keys, bases + (times - range_ms - origin)[None, :], side="right")
    return Windows(labels, ts, values, owner, low, high, times, range_ms)


def _fetch(
    store: Store, of: parser.VectorSelector, after: int, until: int
) -> tuple[list[Labels], Integers, Integers, Floats]:
    where, params = condition(of)
    try:
        table = store.query(_SQL % where, params | {"after": after, "until": until})
    except StoreQueryError as error:
        raise PromQLError("bad_data", f"a matcher can't be evaluated: {error}") from error
    except StoreError as error:
        raise PromQLError("execution", str(error)) from error
    labels = [
        {NAME: metric, **dict(of_series)}
        for metric, of_series in zip(table["metric"].to_pylist(), table["of_series"].to_pylist(), strict=True)
    ]
    lists = table["ts_ms"].combine_chunks()
    sizes = np.diff(_numpy(lists.offsets)) if labels else np.empty(0, dtype=np.int64)
    ts = _numpy(lists.flatten()).astype(np.int64, copy=False)
    values = _numpy(table["sample"].combine_chunks().flatten()).astype(np.float64, copy=False)
    owner = np.repeat(np.arange(len(labels), dtype=np.int64), sizes)
    return labels, *_ordered(owner, ts, values)


def _ordered(owner: Integers, ts: Integers, values: Floats) -> tuple[Integers, Integers, Floats]:
    """By series and time; of samples with one time the last stays."""
    order = np.lexsort((ts, owner))
    owner, ts, values = owner[order], ts[order], values[order]
    if len(ts) > 1:
        last = np.append((ts[1:] != ts[:-1]) | (owner[1:] != owner[:-1]), True)
        if not last.all():
            owner, ts, values = owner[last], ts[last], values[last]
    return owner, ts, values


def _numpy(array: Any) -> Any:
    """An Arrow array's numbers; chunked arrays of no chunk are empty."""
    return array.to_numpy(zero_copy_only=False)
