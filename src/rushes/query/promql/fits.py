"""Functions that look at all values of a window together: deviations, lines, quantiles, smoothing.

Windows overlap, so their samples are laid out one window after another, in portions that memory can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from rushes.query.promql.model import Floats, Integers, Mask, PromQLError
from rushes.query.promql.selectors import Windows

__all__ = ["deviation", "median_deviation", "predicted", "quantile", "slope", "smoothed", "variance"]

_Result: TypeAlias = tuple[Floats, Mask]
_PORTION: Final = 2_000_000  # samples laid out at once


@dataclass(slots=True)
class _Portion:
    """Some windows laid out: `cells` are (row, column), window i is values[starts[i]:starts[i] + sizes[i]]."""

    cells: tuple[Integers, Integers]
    starts: Integers
    sizes: Integers
    at: Integers
    window: Integers

    def sums(self, array: Floats) -> Floats:
        found: Floats = np.add.reduceat(array, self.starts)
        return found


def _portions(of: Windows, least: int) -> Iterator[_Portion]:
    sizes = of.high - of.low
    rows, columns = np.nonzero(sizes >= least)
    wanted = sizes[rows, columns]
    begin = 0
    totals = np.cumsum(wanted)
    while begin < len(rows):
        done = totals[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(totals, done + _PORTION, side="right")))
        cells = rows[begin:end], columns[begin:end]
        chosen = wanted[begin:end]
        starts = np.cumsum(chosen) - chosen
        window = np.repeat(np.arange(len(chosen)), chosen)
        at = np.arange(int(chosen.sum())) - starts[window] + of.low[cells][window]
        yield _Portion(cells, starts, chosen, at, window)
        begin = end


def _filled(of: Windows, least: int, function: Callable[[_Portion], Floats]) -> _Result:
    result = np.full(of.low.shape, np.nan)
    for portion in _portions(of, least):
        result[portion.cells] = function(portion)
    return result, of.high - of.low >= least


def variance(of: Windows) -> _Result:
    """The mean square distance from the mean."""

    def compute(portion: _Portion) -> Floats:
        values = of.values[portion.at]
        # Distances from the first value, so that equal values have no variance at all.
        values = values - values[portion.starts][portion.window]
        mean = portion.sums(values) / portion.sizes
        return portion.sums((values - mean[portion.window]) ** 2) / portion.sizes

    return _filled(of, 1, compute)


def deviation(of: Windows) -> _Result:
    """The square root of the variance."""
    values, present = variance(of)
    return np.sqrt(values), present


def _line(of: Windows, portion: _Portion, origin: Integers) -> tuple[Floats, Floats]:
    """Slope per second, and height at `origin` (milliseconds, one a window), of each window's line of best fit."""
    seconds = (of.ts[portion.at] - origin[portion.window]) / 1000
    values = of.values[portion.at]
    first = values[portion.starts]
    flat = np.logical_and.reduceat(values == first[portion.window], portion.starts)
    middle, mean = portion.sums(seconds) / portion.sizes, portion.sums(values) / portion.sizes
    apart = seconds - middle[portion.window]
    slopes = portion.sums(apart * (values - mean[portion.window])) / portion.sums(apart * apart)
    heights = mean - slopes * middle
    infinite = np.isinf(first)
    slopes = np.where(flat, np.where(infinite, np.nan, 0.0), slopes)
    return slopes, np.where(flat, np.where(infinite, np.nan, first), heights)


def slope(of: Windows) -> _Result:
    """`deriv`: the slope of the line of best fit."""
    return _filled(of, 2, lambda portion: _line(of, portion, of.ts[portion.at[portion.starts]])[0])


def predicted(of: Windows, seconds: Floats) -> _Result:
    """`predict_linear`: where the line of best fit will be so many seconds after the step."""

    def compute(portion: _Portion) -> Floats:
        column = portion.cells[1]
        slopes, heights = _line(of, portion, of.steps[column])
        return slopes * seconds[column] + heights

    return _filled(of, 2, compute)


def quantile(of: Windows, quantiles: Floats) -> _Result:
    """`quantile_over_time`, one quantile a step, between ranks by a straight line; NaNs rank lowest."""
    return _filled(
        of, 1, lambda portion: _ranked(portion, of.values[portion.at], quantiles[portion.cells[1]])
    )


def median_deviation(of: Windows) -> _Result:
    """`mad_over_time`: the median distance from the median."""

    def compute(portion: _Portion) -> Floats:
        half = np.full(len(portion.sizes), 0.5)
        values = of.values[portion.at]
        median = _ranked(portion, values, half)
        return _ranked(portion, np.abs(values - median[portion.window]), half)

    return _filled(of, 1, compute)


def _ranked(portion: _Portion, values: Floats, q: Floats) -> Floats:
    """The q-quantile of each window."""
    ordered = values[np.lexsort((values, ~np.isnan(values), portion.window))]
    rank = np.clip(np.nan_to_num(q), 0, 1) * (portion.sizes - 1)
    below = np.floor(rank)
    weight = rank - below
    above = np.minimum(portion.sizes - 1, below + 1)
    low, high = (ordered[portion.starts + each.astype(np.int64)] for each in (below, above))
    found = low * (1 - weight) + high * weight
    found = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, found))
    return np.where(np.isnan(q), np.nan, found)


def smoothed(of: Windows, smoothing: Floats, trend: Floats) -> _Result:
    """`double_exponential_smoothing`.

    Raises:
        PromQLError: a factor isn't between 0 and 1.
    """
    if (of.high > of.low).any():
        for name, factors in (("smoothing", smoothing), ("trend", trend)):
            wrong = factors[(factors <= 0) | (factors >= 1)]
            if len(wrong):
                raise PromQLError(
                    "execution", f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {wrong[0]:f}"
                )

    def compute(portion: _Portion) -> Floats:
        values = of.values[portion.at]
        level = values[portion.starts].copy()
        before = np.zeros(len(level))
        slopes = values[portion.starts + 1] - level
        for step in range(1, int(portion.sizes.max())):
            on = np.flatnonzero(portion.sizes > step)
            sf, tf = smoothing[portion.cells[1][on]], trend[portion.cells[1][on]]
            if step > 1:
                slopes[on] = tf * (level[on] - before[on]) + (1 - tf) * slopes[on]
            now = sf * values[portion.starts[on] + step] + (1 - sf) * (level[on] + slopes[on])
            before[on], level[on] = level[on], now
        return level

    return _filled(of, 2, compute)
