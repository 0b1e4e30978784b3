"""`histogram_quantile` and `histogram_fraction`, over classic buckets and native histograms alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from rushes.query.promql import native_stats
from rushes.query.promql.model import NAME, Floats, Integers, Labels, Mask, Vector, key_of, without_name
from rushes.query.promql.native import Histogram
from rushes.query.promql.notes import Notes

__all__ = ["STATISTICS", "histogram_fraction", "histogram_quantile", "statistic"]

_TOLERANCE: Final = 1e-12  # differences between buckets this small are rounding, not a falling counter
_Classic = Callable[[Floats, Floats, Integers], Floats]

STATISTICS: Final[dict[str, Callable[[Histogram], float]]] = {
    "histogram_count": lambda histogram: histogram.count,
    "histogram_sum": lambda histogram: histogram.sum,
    "histogram_avg": native_stats.mean,
    "histogram_stddev": lambda histogram: float(np.sqrt(native_stats.variance(histogram))),
    "histogram_stdvar": native_stats.variance,
}
"""Functions of native histograms alone, by their PromQL names."""


def statistic(name: str, of: Vector) -> Vector:
    """One of STATISTICS at every step; numbers are left out."""
    return _of_native(of, lambda histogram, _: STATISTICS[name](histogram)).unique()


def histogram_quantile(quantile: Floats, of: Vector, notes: Notes) -> Vector:
    """The quantile (one a step) of native histograms, and of every group of series that differ in nothing but `le`."""
    for wrong in np.unique(quantile[~((quantile >= 0) & (quantile <= 1))]).tolist():
        notes.bad_quantile(wrong)

    def classic(uppers: Floats, counts: Floats, steps: Integers) -> Floats:
        return _outside(quantile[steps], _quantiles(quantile[steps], uppers, counts, notes))

    def of_histogram(histogram: Histogram, step: int) -> float:
        return native_stats.quantile(histogram, float(quantile[step]))

    return _of_both(of, classic, of_histogram, notes)


def histogram_fraction(low: Floats, high: Floats, of: Vector, notes: Notes) -> Vector:
    """The share of observations between two bounds (one pair a step)."""

    def classic(uppers: Floats, counts: Floats, steps: Integers) -> Floats:
        return _fractions(low[steps], high[steps], uppers, counts)

    def of_histogram(histogram: Histogram, step: int) -> float:
        return native_stats.fraction(histogram, float(low[step]), float(high[step]))

    return _of_both(of, classic, of_histogram, notes)


def _of_native(of: Vector, function: Callable[[Histogram, int], float]) -> Vector:
    are = of.are_histograms
    values = np.full(of.values.shape, np.nan)
    if of.histograms is not None:
        for row, step in np.argwhere(are).tolist():
            values[row, step] = function(of.histograms[row, step], step)
    return Vector(without_name(of.labels), values, are)


@dataclass(slots=True)
class _Buckets:
    """A classic histogram: its labels without `le`, and its buckets as (upper bound, row)."""

    labels: Labels
    buckets: list[tuple[float, int]]


def _of_both(
    of: Vector, classic: _Classic, of_histogram: Callable[[Histogram, int], float], notes: Notes
) -> Vector:
    found = _of_classic(of.floats, classic, notes)
    if of.histograms is None:
        return found.unique()
    native = _of_native(of, of_histogram)
    # Where one series is both at a step, neither is certain, so neither is given.
    rows = {key_of(labels): row for row, labels in enumerate(found.labels)}
    for row, labels in enumerate(native.labels):
        twin = rows.get(key_of(labels))
        if twin is not None:
            both = native.present[row] & found.present[twin]
            if both.any():
                notes.mixed_histograms(of.labels[row].get(NAME, ""))
            native.present[row] &= ~both
            found.present[twin] &= ~both
    return Vector(
        native.labels + found.labels,
        np.concatenate([native.values, found.values]),
        np.concatenate([native.present, found.present]),
    ).unique()


def _of_classic(of: Vector, compute: _Classic, notes: Notes) -> Vector:
    groups: dict[tuple[tuple[str, str], ...], _Buckets] = {}
    for row, of_row in enumerate(of.labels):
        upper = _bound(of_row.get("le"))
        if upper is None:
            if of.present[row].any():
                notes.bad_bucket(of_row.get(NAME, ""), of_row.get("le", ""))
            continue
        rest = {name: value for name, value in of_row.items() if name not in {"le", NAME}}
        groups.setdefault(key_of(rest), _Buckets(rest, [])).buckets.append((upper, row))
    values = np.full((len(groups), of.values.shape[1]), np.nan)
    present = np.zeros(values.shape, dtype=bool)
    for number, group in enumerate(groups.values()):
        group.buckets.sort()
        uppers = np.array([upper for upper, _ in group.buckets])
        rows = np.array([row for _, row in group.buckets])
        there = of.present[rows]
        present[number] = there.any(axis=0)
        for used, steps in _patterns(there):
            values[number, steps] = compute(uppers[used], of.values[np.ix_(rows[used], steps)], steps)
    return Vector([group.labels for group in groups.values()], values, present)


def _patterns(there: Mask) -> list[tuple[Mask, Integers]]:
    """Steps with the same buckets are computed together; mostly that is all of them."""
    if there.all():
        return [(there[:, 0], np.arange(there.shape[1]))]
    patterns, which = np.unique(there, axis=1, return_inverse=True)
    return [
        (patterns[:, number], np.flatnonzero(which.ravel() == number))
        for number in range(patterns.shape[1])
        if patterns[:, number].any()
    ]


def _bound(text: str | None) -> float | None:
    if text is None or "_" in text or text != text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _merged(uppers: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Cumulative buckets with one row a bound: "1" and "1.0" are one."""
    unique, inverse = np.unique(uppers, return_inverse=True)
    if len(unique) == len(uppers):
        return uppers, counts
    merged = np.zeros((len(unique), counts.shape[1]))
    np.add.at(merged, inverse, counts)
    return unique, merged


def _quantiles(quantile: Floats, uppers: Floats, counts: Floats, notes: Notes) -> Floats:
    """Quantiles of one histogram at several steps; `counts` are cumulative, a row a bucket."""
    if not np.isposinf(uppers[-1]):
        return np.full(counts.shape[1], np.nan)
    uppers, merged = _merged(uppers, counts)
    if len(uppers) < 2:  # noqa: PLR2004  one bucket says nothing of where
        return np.full(counts.shape[1], np.nan)
    merged, forced = _rising(merged)
    if forced:
        notes.forced_rising()
    total = merged[-1]
    with np.errstate(all="ignore"):
        rank = quantile * total
        # As a binary search finds it: not-a-number is reached by no bucket.
        bucket = (~(merged[:-1] >= rank[None, :])).sum(axis=0)
        steps = np.arange(counts.shape[1])
        end = uppers[bucket]
        start = np.where(bucket > 0, uppers[np.maximum(bucket - 1, 0)], 0.0)
        before = np.where(bucket > 0, merged[np.maximum(bucket - 1, 0), steps], 0.0)
        inside = start + (end - start) * ((rank - before) / (merged[bucket, steps] - before))
        inside = np.where((bucket == 0) & (uppers[0] <= 0), uppers[0], inside)
        inside = np.where(bucket == len(uppers) - 1, uppers[-2], inside)
    return np.where(total == 0, np.nan, inside)


def _fractions(low: Floats, high: Floats, uppers: Floats, counts: Floats) -> Floats:
    """Shares of one histogram at several steps; `counts` are cumulative, a row a bucket."""
    if not np.isposinf(uppers[-1]):
        return np.full(counts.shape[1], np.nan)
    uppers, merged = _merged(uppers, counts)
    merged, _ = _rising(merged)
    total = merged[-1]
    with np.errstate(all="ignore"):
        below = _ranks(high, uppers, merged) - _ranks(low, uppers, merged)
        found = np.where(low >= high, 0.0, below / total)
    return np.where((total == 0) | np.isnan(low) | np.isnan(high), np.nan, found)


def _ranks(bound: Floats, uppers: Floats, merged: Floats) -> Floats:
    """How many observations lie below a bound, in straight lines between the buckets' ends."""
    steps = np.arange(merged.shape[1])
    bucket = np.minimum(np.searchsorted(uppers, bound, side="left"), len(uppers) - 1)
    first_start = -np.inf if uppers[0] <= 0 else 0.0
    start = np.where(bucket > 0, uppers[np.maximum(bucket - 1, 0)], first_start)
    before = np.where(bucket > 0, merged[np.maximum(bucket - 1, 0), steps], 0.0)
    inside = before + (merged[bucket, steps] - before) * ((bound - start) / (uppers[bucket] - start))
    inside = np.where(bound <= start, before, inside)
    inside = np.where(bound >= uppers[bucket], merged[bucket, steps], inside)
    # Within the last bucket, and a first one below zero, nothing is known: as Prometheus has it, a bound inside the
    # one counts nothing of it, a bound inside the other all of it.
    inside = np.where(np.isposinf(uppers[bucket]) & np.isfinite(bound), before, inside)
    return np.where(np.isneginf(start) & np.isfinite(bound), merged[bucket, steps], inside)


def _rising(counts: Floats) -> tuple[Floats, bool]:
    """Counts that never fall from bucket to bucket, rounding smoothed away, and whether more than that was needed."""
    apart = np.diff(counts, axis=0)
    if (apart >= 0).all():
        near = (apart > 0) & (apart <= _TOLERANCE * (np.abs(counts[1:]) + np.abs(counts[:-1])))
        if not near.any():
            return counts, False
    fixed = counts.copy()
    forced = False
    for row in range(1, len(fixed)):
        before, now = fixed[row - 1], fixed[row]
        near = np.abs(now - before) <= _TOLERANCE * (np.abs(now) + np.abs(before))
        forced = forced or bool(((now < before) & ~near).any())
        fixed[row] = np.where(near | (now < before), before, now)
    return fixed, forced


def _outside(quantile: Floats, result: Floats) -> Floats:
    result = np.where(quantile < 0, -np.inf, result)
    result = np.where(quantile > 1, np.inf, result)
    return np.where(np.isnan(quantile), np.nan, result)
