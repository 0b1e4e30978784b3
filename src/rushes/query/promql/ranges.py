"""Functions over windows of samples: rates with Prometheus 3's extrapolation, and the `_over_time` family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from rushes.query.promql.model import Floats, Integers, Mask, Vector, without_name
from rushes.query.promql.selectors import Windows

__all__ = ["RANGE_FUNCTIONS", "quantile_of", "quantile_over_time"]

_Result: TypeAlias = tuple[Floats, Mask]
_Function: TypeAlias = Callable[[Windows], _Result]
_NEAR: Final = 1.1  # a sample this many average intervals from the window's edge counts as at the edge


def _at(array: Any, positions: Integers) -> Any:
    """Elements at positions that may lie outside where the result isn't used."""
    if not len(array):
        return np.zeros(positions.shape, dtype=array.dtype)
    return array[np.clip(positions, 0, len(array) - 1)]


def _reduced(ufunc: Any, array: Floats, low: Integers, high: Integers, empty: float) -> Floats:
    """`ufunc` over each [low, high), `empty` where there is nothing."""
    result = np.full(low.shape, empty)
    used = high > low
    if used.any():
        padded = np.append(array, 0.0)
        pairs = np.stack([low[used], high[used]], axis=1).ravel()
        result[used] = ufunc.reduceat(padded, pairs)[::2]
    return result


def _increase(of: Windows, *, counter: bool, per_second: bool) -> _Result:
    low, high = of.low, of.high
    present = high - low > 1
    first, last = _at(of.values, low), _at(of.values, high - 1)
    result = last - first
    if counter and len(of.values):
        # What a reset lost is the value before it.
        drops = np.zeros(len(of.values))
        fell = (of.values[1:] < of.values[:-1]) & (of.owner[1:] == of.owner[:-1])
        drops[1:][fell] = of.values[:-1][fell]
        if fell.any():
            result = result + _reduced(np.add, drops, np.minimum(low + 1, high), high, 0.0)
    first_ms, last_ms = _at(of.ts, low), _at(of.ts, high - 1)
    to_start = (first_ms - (of.times - of.range_ms)[None, :]) / 1000
    to_end = (of.times[None, :] - last_ms) / 1000
    sampled = (last_ms - first_ms) / 1000
    average = sampled / np.maximum(high - low - 1, 1)
    to_start = np.where(to_start >= average * _NEAR, average / 2, to_start)
    if counter:
        # A counter can't have been below zero: it is not extended further back than to where it was zero.
        to_zero = np.where((result > 0) & (first >= 0), sampled * (first / result), to_start)
        to_start = np.where(to_zero < to_start, to_zero, to_start)
    to_end = np.where(to_end >= average * _NEAR, average / 2, to_end)
    factor = (sampled + to_start + to_end) / sampled
    if per_second:
        factor = factor / (of.range_ms / 1000)
    return result * factor, present


def _rate(of: Windows) -> _Result:
    return _increase(of, counter=True, per_second=True)


def _increased(of: Windows) -> _Result:
    return _increase(of, counter=True, per_second=False)


def _delta(of: Windows) -> _Result:
    return _increase(of, counter=False, per_second=False)


def _last_two(of: Windows) -> tuple[Floats, Floats, Floats, Mask]:
    present = of.high - of.low > 1
    last, before = _at(of.values, of.high - 1), _at(of.values, of.high - 2)
    seconds = (_at(of.ts, of.high - 1) - _at(of.ts, of.high - 2)) / 1000
    return last, before, seconds, present & (seconds > 0)


def _irate(of: Windows) -> _Result:
    last, before, seconds, present = _last_two(of)
    return np.where(last < before, last, last - before) / seconds, present


def _idelta(of: Windows) -> _Result:
    last, before, _, present = _last_two(of)
    return last - before, present


def _count(of: Windows) -> _Result:
    return (of.high - of.low).astype(np.float64), of.filled


def _present(of: Windows) -> _Result:
    return np.ones(of.low.shape), of.filled


def _sum(of: Windows) -> _Result:
    return _reduced(np.add, of.values, of.low, of.high, 0.0), of.filled


def _avg(of: Windows) -> _Result:
    total, present = _sum(of)
    return total / (of.high - of.low), present


def _min(of: Windows) -> _Result:
    return _reduced(np.fmin, of.values, of.low, of.high, np.nan), of.filled


def _max(of: Windows) -> _Result:
    return _reduced(np.fmax, of.values, of.low, of.high, np.nan), of.filled


def _last(of: Windows) -> _Result:
    return _at(of.values, of.high - 1), of.filled


def _changed(of: Windows, differs: Callable[[Floats, Floats], Mask]) -> _Result:
    marks = np.zeros(len(of.values))
    if len(marks):
        marks[1:] = differs(of.values[1:], of.values[:-1])
    return _reduced(np.add, marks, np.minimum(of.low + 1, of.high), of.high, 0.0), of.filled


def _changes(of: Windows) -> _Result:
    return _changed(of, lambda now, before: (now != before) & ~(np.isnan(now) & np.isnan(before)))


def _resets(of: Windows) -> _Result:
    return _changed(of, lambda now, before: now < before)


_FUNCTIONS: Final[dict[str, _Function]] = {
    "rate": _rate,
    "increase": _increased,
    "delta": _delta,
    "irate": _irate,
    "idelta": _idelta,
    "changes": _changes,
    "resets": _resets,
    "avg_over_time": _avg,
    "min_over_time": _min,
    "max_over_time": _max,
    "sum_over_time": _sum,
    "count_over_time": _count,
    "last_over_time": _last,
    "present_over_time": _present,
}


def _applied(name: str, function: _Function) -> Callable[[Windows], Vector]:
    def apply(of: Windows) -> Vector:
        with np.errstate(all="ignore"):  # what isn't present may divide by zero
            values, present = function(of)
        # The last sample is still a sample of that metric; everything else is something new.
        labels = of.labels if name == "last_over_time" else without_name(of.labels)
        return Vector(labels, values, present).unique()

    return apply


RANGE_FUNCTIONS: Final = {name: _applied(name, function) for name, function in _FUNCTIONS.items()}
"""Functions of one range vector, by their PromQL names."""


def quantile_over_time(quantile: Floats, of: Windows) -> Vector:
    """The quantile (one a step) of each window's values."""
    values = np.full(of.low.shape, np.nan)
    filled = of.filled
    for row, step in np.argwhere(filled):
        window = of.values[of.low[row, step] : of.high[row, step]]
        values[row, step] = quantile_of(float(quantile[step]), window)
    return Vector(without_name(of.labels), values, filled).unique()


def quantile_of(quantile: float, values: Floats) -> float:
    """A quantile by linear interpolation between ranks, as Prometheus has it; NaNs rank lowest."""
    if not len(values) or np.isnan(quantile):
        return float("nan")
    if quantile < 0:
        return float("-inf")
    if quantile > 1:
        return float("inf")
    ordered = np.sort(values)
    missing = int(np.isnan(ordered).sum())
    ordered = np.roll(ordered, missing)
    rank = quantile * (len(ordered) - 1)
    below = max(0, int(np.floor(rank)))
    above = min(len(ordered) - 1, below + 1)
    weight = rank - np.floor(rank)
    return float(ordered[below] * (1 - weight) + ordered[above] * weight)
