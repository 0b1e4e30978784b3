"""What the store computes itself: a selector's value, or its rate, at every step.

The store's `timeSeries...ToGrid` functions read each sample once and hand back a number a step, where reading the
samples themselves would hand back all of them. They see numbers only, so selectors of native histograms don't come
here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import promql_parser as parser

from rushes.query.promql.model import Floats, Mask, Vector
from rushes.query.promql.reader import Reader
from rushes.query.promql.selectors import STALE, Grid, chosen, numbers

__all__ = ["computes", "per_series"]

_GRID_FUNCTIONS: Final = {
    "": "timeSeriesLastToGrid",
    "rate": "timeSeriesRateToGrid",
    "increase": "timeSeriesIncreaseToGrid",
    "delta": "timeSeriesDeltaToGrid",
    "irate": "timeSeriesInstantRateToGrid",
    "idelta": "timeSeriesInstantDeltaToGrid",
    "last_over_time": "timeSeriesLastToGrid",
}
"""The store's function for each of PromQL's; the selector itself is the one without a name."""

# Of one window for each series, so of queries at one time. Only such as a sample that was sent twice can't change.
# Where not all is finite the answer isn't either, and samples are looked at.
_WINDOW_FUNCTIONS: Final = {"max_over_time": "[if(max(NOT isFinite(value)), nan, max(value))]"}

_NOT_STALE: Final = f" AND reinterpretAsUInt64(value) != {STALE}"
# In order, one series after another takes no memory; that there is little of it is no reason to go down to one thread.
_SETTINGS: Final = (
    " SETTINGS enable_time_series_aggregate_functions = 1, optimize_aggregation_in_order = 1, "
    "max_threads_min_free_memory_per_thread = 0"
)


def computes(name: str, grid: Grid) -> bool:
    """Whether the store can compute the function at these times."""
    return name in _GRID_FUNCTIONS or (name in _WINDOW_FUNCTIONS and len(grid.times) == 1)


def per_series(
    reader: Reader, name: str, of: parser.VectorSelector, grid: Grid, range_ms: int
) -> Vector | None:
    """What `computes` says yes to, at every step, a row a series; None where one sample isn't finite: look at them.

    Raises:
        PromQLError: the selector can't be evaluated, or finds too much.
    """
    times = grid.seen_by(of)
    start, end = int(times[0]), int(times[-1])
    step = int(times[1] - times[0]) if end > start else 1000
    values_at = _WINDOW_FUNCTIONS.get(name) or (
        f"{_GRID_FUNCTIONS[name]}(fromUnixTimestamp64Milli({start}, 'UTC'), fromUnixTimestamp64Milli({end}, 'UTC'), "
        f"toDecimal64('{step / 1000:.3f}', 3), toDecimal64('{range_ms / 1000:.3f}', 3))(ts, value)"
    )
    where, params = chosen(of, start - range_ms, end)
    if name:
        where += _NOT_STALE
    table = reader.table(
        f"SELECT series_id, {values_at} AS grid FROM samples WHERE {where} GROUP BY series_id{_SETTINGS}",
        params,
    )
    labels, table = reader.labelled(table)
    reader.bound(table.num_rows * len(times))
    values, present = _matrix(table["grid"], table.num_rows)
    if not name:
        # A stale marker ends a series: it is the newest sample, and no value.
        stale = values.view(np.uint64) == STALE
        values, present = np.where(stale, 0.0, values), present & ~stale
    if not _finite(values, present):
        return None
    return Vector(labels, *_spread(values, present, len(times)))


def _matrix(lists: Any, rows: int) -> tuple[Floats, Mask]:
    """Lists of equal length as a matrix, and where they have something."""
    if not rows:
        return np.empty((0, 0)), np.empty((0, 0), dtype=bool)
    flat = lists.combine_chunks().flatten()
    present = np.ones(len(flat), dtype=bool) if not flat.null_count else ~numbers(flat.is_null())
    return (
        numbers(flat).astype(np.float64, copy=False).reshape(rows, -1),
        present.reshape(rows, -1),
    )


def _finite(values: Floats, present: Mask) -> bool:
    """Whether all that is there is finite: of infinities the store's functions make other things than PromQL."""
    return bool((np.isfinite(values) | ~present).all())


def _spread(values: Floats, present: Mask, steps: int) -> tuple[Floats, Mask]:
    """At a fixed time all steps see the same."""
    if not len(values):
        return np.empty((0, steps)), np.empty((0, steps), dtype=bool)
    if values.shape[1] == steps:
        return values, present
    return np.repeat(values, steps, axis=1), np.repeat(present, steps, axis=1)
