"""Functions over windows of samples: rates with Prometheus 3's extrapolation, and the `_over_time` family.

Numbers are worked on all at once; windows that have native histograms are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from rushes.query.promql import fits, range_histograms
from rushes.query.promql.model import NAME, Floats, Integers, Mask, Vector, without_name
from rushes.query.promql.notes import Notes
from rushes.query.promql.selectors import Windows

__all__ = ["RANGE_FUNCTIONS", "named", "over_windows"]

_Result: TypeAlias = tuple[Floats, Mask]
_Function: TypeAlias = Callable[[Windows], _Result]
_NEAR: Final = 1.1  # a sample this many average intervals from the window's edge counts as at the edge
_KEEP_NAME: Final = ("last_over_time", "first_over_time")
_COUNTERS: Final = ("rate", "increase")


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
    sampled, factor = extrapolation(of, first if counter else None, result)
    if per_second:
        factor = factor / (of.range_ms / 1000)
    return result * factor, present & (sampled > 0)


def extrapolation(of: Windows, first: Floats | None, rise: Floats) -> tuple[Floats, Floats]:
    """The seconds between each window's first and last sample, and how much more than that the window stands for.

    A counter, whose first values are given, isn't extended further back than to where it was zero.
    """
    first_ms, last_ms = _at(of.ts, of.low), _at(of.ts, of.high - 1)
    to_start = (first_ms - (of.times - of.range_ms)[None, :]) / 1000
    to_end = (of.times[None, :] - last_ms) / 1000
    sampled = (last_ms - first_ms) / 1000
    average = sampled / np.maximum(of.high - of.low - 1, 1)
    to_start = np.where(to_start >= average * _NEAR, average / 2, to_start)
    if first is not None:
        to_zero = np.where((rise > 0) & (first >= 0), sampled * (first / rise), to_start)
        to_start = np.where(to_zero < to_start, to_zero, to_start)
    to_end = np.where(to_end >= average * _NEAR, average / 2, to_end)
    return sampled, (sampled + to_start + to_end) / sampled


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
    count = of.high - of.low
    mean = total / count
    finite = np.isfinite(of.values)
    if (np.isinf(mean) & present).any() and finite.any():
        # The sum, not the mean, may be out of range: add up shares instead.
        largest = float(np.abs(of.values[finite]).max()) or 1.0
        shares = _reduced(np.add, of.values / largest, of.low, of.high, 0.0)
        mean = np.where(np.isinf(mean), shares / count * largest, mean)
    return mean, present


def _min(of: Windows) -> _Result:
    return _reduced(np.fmin, of.values, of.low, of.high, np.nan), of.filled


def _max(of: Windows) -> _Result:
    return _reduced(np.fmax, of.values, of.low, of.high, np.nan), of.filled


def _last(of: Windows) -> _Result:
    return _at(of.values, of.high - 1), of.filled


def _first(of: Windows) -> _Result:
    return _at(of.values, of.low), of.filled


def _changed(of: Windows, differs: Callable[[Floats, Floats], Mask]) -> _Result:
    marks = np.zeros(len(of.values))
    if len(marks):
        marks[1:] = differs(of.values[1:], of.values[:-1])
    return _reduced(np.add, marks, np.minimum(of.low + 1, of.high), of.high, 0.0), of.filled


def _changes(of: Windows) -> _Result:
    return _changed(of, lambda now, before: (now != before) & ~(np.isnan(now) & np.isnan(before)))


def _resets(of: Windows) -> _Result:
    return _changed(of, lambda now, before: now < before)


RANGE_FUNCTIONS: Final[dict[str, _Function]] = {
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
    "first_over_time": _first,
    "present_over_time": _present,
    "stddev_over_time": fits.deviation,
    "stdvar_over_time": fits.variance,
    "deriv": fits.slope,
}
"""Functions of one range vector, by their PromQL names."""


def over_windows(name: str, of: Windows, notes: Notes, function: _Function | None = None) -> Vector:
    """A range function's value in every window; `function` stands for one that has further arguments.

    Raises:
        PromQLError: two series are the same without the metric's name.
    """
    floats = of.floats
    with np.errstate(all="ignore"):  # what isn't present may divide by zero
        values, present = (function or RANGE_FUNCTIONS[name])(floats)
    result = Vector(of.labels, values, present)
    if of.histograms is not None:
        result = range_histograms.overlaid(name, of, floats, result, notes)
    return named(name, result, notes)


def named(name: str, of: Vector, notes: Notes) -> Vector:
    """The result under its labels: the first or last sample is still that metric's, all else is something new.

    Raises:
        PromQLError: two series are the same without the metric's name.
    """
    if name in _COUNTERS and of.histograms is None:
        for metric in dict.fromkeys(labels.get(NAME, "") for labels in of.labels):
            notes.not_counter(metric)
    if name in _KEEP_NAME:
        return of.unique(taking_turns=False)
    return of.relabelled(without_name(of.labels)).unique(taking_turns=False)
