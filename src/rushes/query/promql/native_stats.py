"""What a native histogram says of its observations: mean, spread, quantiles and shares.

Within an exponential bucket observations are taken to be spread evenly on a logarithmic scale, as Prometheus 3
takes them; within the zero bucket and custom buckets, evenly.
"""

from __future__ import annotations

import math

import numpy as np

from rushes.query.promql.native import Histogram

__all__ = ["fraction", "mean", "quantile", "variance"]


def mean(of: Histogram) -> float:
    """The mean observation."""
    with np.errstate(all="ignore"):
        return float(np.float64(of.sum) / np.float64(of.count))


def variance(of: Histogram) -> float:
    """The mean square distance from the mean, with every observation in its bucket's middle."""
    lower, upper, counts = of.buckets()
    with np.errstate(all="ignore"):
        if of.custom:
            middle = (upper + lower) / 2
        else:
            middle = np.where((lower <= 0) & (upper >= 0), 0.0, np.sign(upper) * np.sqrt(upper * lower))
        apart = middle - mean(of)
        return float(np.sum(counts * apart * apart) / np.float64(of.count))


def quantile(of: Histogram, q: float) -> float:
    """The q-quantile of its observations."""
    if math.isnan(q) or of.count == 0 or not 0 <= q <= 1:
        return -math.inf if q < 0 else math.inf if q > 1 else math.nan
    forward = math.isnan(of.sum) or q < 0.5  # noqa: PLR2004  the nearer end; not-a-numbers are only known forward
    rank = (q if forward else 1 - q) * of.count
    buckets = list(zip(*(side.tolist() for side in of.buckets()), strict=True))
    seen, lower, upper, count = 0.0, 0.0, 0.0, 0.0
    for lower, upper, count in buckets if forward else reversed(buckets):  # noqa: B007  the last is looked at
        seen += count
        if seen >= rank:
            break
    if of.custom and lower == -math.inf and upper <= 0:
        return upper
    if of.custom and upper == math.inf:
        return lower
    lower, upper = _bounded(of, lower, upper)
    seen = min(seen, of.count)
    if seen < rank:
        return upper
    inside = rank - (seen - count) if forward else seen - rank
    return _within(of, lower, upper, inside / count if count else math.nan)


def _bounded(of: Histogram, lower: float, upper: float) -> tuple[float, float]:
    """Where a bucket's observations can be."""
    if of.custom:
        return (0.0 if lower == -math.inf else lower), upper
    return _one_sided(of, lower, upper)


def _within(of: Histogram, lower: float, upper: float, share: float) -> float:
    """The value below which lies this share of a bucket."""
    if of.custom or lower <= 0 <= upper:
        return lower + (upper - lower) * share
    low, high = math.log2(abs(lower)), math.log2(abs(upper))
    if lower > 0:
        return float(np.exp2(low + (high - low) * share))
    return -float(np.exp2(high + (low - high) * (1 - share)))


def _one_sided(of: Histogram, lower: float, upper: float) -> tuple[float, float]:
    """The zero bucket reaches only to the side where there are observations."""
    if lower < 0 < upper:
        if not len(of.negative) and len(of.positive):
            return 0.0, upper
        if not len(of.positive) and len(of.negative):
            return lower, 0.0
    return lower, upper


def fraction(of: Histogram, low: float, high: float) -> float:
    """The share of its observations between two bounds."""
    if of.count == 0 or math.isnan(low) or math.isnan(high):
        return math.nan
    if low >= high:
        return 0.0
    return (_rank(of, high) - _rank(of, low)) / of.count


def _rank(of: Histogram, bound: float) -> float:
    """How many observations lie below a bound."""
    rank: float = 0.0
    lower: float
    upper: float
    count: float
    for lower, upper, count in zip(*(side.tolist() for side in of.buckets()), strict=True):
        begin, end = (lower, upper) if of.custom else _one_sided(of, lower, upper)
        if of.custom and begin == -math.inf and end > 0:
            begin = 0.0
        if begin >= bound:
            return min(rank, of.count)
        if end > bound:
            if of.custom or begin <= 0 <= end:
                # Of a bucket without end nothing counts, of one without beginning all of it.
                share = 1.0 if begin == -math.inf else (bound - begin) / (end - begin)
            else:
                first, last, at = (math.log2(abs(each)) for each in (begin, end, bound))
                share = (at - first) / (last - first) if bound > 0 else 1 - (at - last) / (first - last)
            return min(rank + count * share, of.count)
        rank += count
    return of.count
