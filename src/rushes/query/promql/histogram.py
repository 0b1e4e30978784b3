"""`histogram_quantile` over classic buckets, as Prometheus interpolates."""

from __future__ import annotations

import numpy as np

from rushes.query.promql.model import NAME, Floats, Labels, Vector, key_of

__all__ = ["histogram_quantile"]

_TOLERANCE = 1e-12  # differences between buckets this small are rounding, not a falling counter


def histogram_quantile(quantile: Floats, of: Vector) -> Vector:
    """The quantile (one a step) of every group of series that differ in nothing but `le`."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[float, int]]] = {}
    labels: list[Labels] = []
    for row, of_row in enumerate(of.labels):
        upper = _bound(of_row.get("le"))
        if upper is None:
            continue
        rest = {name: value for name, value in of_row.items() if name not in {"le", NAME}}
        key = key_of(rest)
        if key not in groups:
            groups[key] = []
            labels.append(rest)
        groups[key].append((upper, row))
    values = np.full((len(labels), of.values.shape[1]), np.nan)
    present = np.zeros(values.shape, dtype=bool)
    for number, buckets in enumerate(groups.values()):
        buckets.sort()
        uppers = np.array([upper for upper, _ in buckets])
        rows = [row for _, row in buckets]
        there = of.present[rows]
        present[number] = there.any(axis=0)
        # Steps with the same buckets are computed together; mostly that is all of them.
        patterns, which = np.unique(there, axis=1, return_inverse=True)
        for pattern in range(patterns.shape[1]):
            used = patterns[:, pattern]
            if not used.any():
                continue
            steps = np.flatnonzero(which.ravel() == pattern)
            counts = of.values[np.ix_(np.array(rows)[used], steps)]
            values[number, steps] = _quantiles(quantile[steps], uppers[used], counts)
    return Vector(labels, values, present)


def _bound(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _quantiles(quantile: Floats, uppers: Floats, counts: Floats) -> Floats:
    """Quantiles of one histogram at several steps; `counts` are cumulative, a row a bucket."""
    # "1" and "1.0" are one bound.
    uppers, inverse = np.unique(uppers, return_inverse=True)
    merged = np.zeros((len(uppers), counts.shape[1]))
    np.add.at(merged, inverse, counts)
    result = np.full(counts.shape[1], np.nan)
    if len(uppers) < 2 or not np.isposinf(uppers[-1]):  # noqa: PLR2004  one bucket says nothing of where
        return _outside(quantile, result)
    merged = _rising(merged)
    total = merged[-1]
    with np.errstate(all="ignore"):
        rank = quantile * total
        bucket = np.minimum((merged[:-1] < rank[None, :]).sum(axis=0), len(uppers) - 1)
        steps = np.arange(counts.shape[1])
        end = uppers[bucket]
        start = np.where(bucket > 0, uppers[np.maximum(bucket - 1, 0)], 0.0)
        before = np.where(bucket > 0, merged[np.maximum(bucket - 1, 0), steps], 0.0)
        inside = start + (end - start) * ((rank - before) / (merged[bucket, steps] - before))
        inside = np.where((bucket == 0) & (uppers[0] <= 0), uppers[0], inside)
        inside = np.where(bucket == len(uppers) - 1, uppers[-2], inside)
        result = np.where(total > 0, inside, np.nan)
    return _outside(quantile, result)


def _rising(counts: Floats) -> Floats:
    """Counts that never fall from bucket to bucket, differences within rounding smoothed away."""
    fixed = counts.copy()
    for row in range(1, len(fixed)):
        before, now = fixed[row - 1], fixed[row]
        near = np.abs(now - before) <= _TOLERANCE * (np.abs(now) + np.abs(before))
        fixed[row] = np.where(near | (now < before), before, now)
    return fixed


def _outside(quantile: Floats, result: Floats) -> Floats:
    result = np.where(quantile < 0, -np.inf, result)
    result = np.where(quantile > 1, np.inf, result)
    return np.where(np.isnan(quantile), np.nan, result)
