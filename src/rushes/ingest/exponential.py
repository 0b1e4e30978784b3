"""Exponential histograms of OTLP as Prometheus' native ones: the same buckets, counted from one place further.

OTLP's bucket i of scale s is (2**(i * 2**-s), 2**((i+1) * 2**-s)], Prometheus' bucket i of schema s ends where
OTLP's begins. Prometheus knows the schemas -4 to 8: finer ones are merged, which loses resolution and no count.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import Any, Final

from rushes.ingest.histograms import Native, malformed
from rushes.ingest.stats import Reason

__all__ = ["COARSEST", "FINEST", "coarsened", "from_otlp", "summed"]

COARSEST: Final = -4
FINEST: Final = 8
# Bucket indices of all floating-point numbers at the finest scale of OTLP, with room to spare.
_FARTHEST: Final = 2**31 - 2


def from_otlp(point: Any) -> Native | Reason:
    """An ExponentialHistogramDataPoint as the store has it, or why it is refused."""
    if point.scale < COARSEST:
        return malformed(f"has scale {point.scale}, coarser than Prometheus' {COARSEST}")
    for side in (point.positive, point.negative):
        if side.bucket_counts and abs(side.offset) + len(side.bucket_counts) > _FARTHEST:
            return malformed(f"has buckets at offset {side.offset}, beyond any number")
    positive = _counted(point.positive)
    negative = _counted(point.negative)
    if sum(positive.values()) + sum(negative.values()) + point.zero_count != point.count:
        return malformed("has buckets that don't add up to its count")
    found = Native(
        count=float(point.count),
        sum=point.sum if point.HasField("sum") else math.nan,
        schema=point.scale,
        gauge=False,
        zero_threshold=point.zero_threshold,
        zero_count=float(point.zero_count),
        positive=positive,
        negative=negative,
    )
    return coarsened(found, FINEST) if point.scale > FINEST else found


def coarsened(of: Native, schema: int) -> Native:
    """The histogram with the wider buckets of a schema that is not finer."""
    steps = of.schema - schema
    if steps <= 0:
        return of
    return replace(
        of, schema=schema, positive=_merged(of.positive, steps), negative=_merged(of.negative, steps)
    )


def summed(one: Native, other: Native) -> Native:
    """Two histograms as one, in the coarser schema of both, with the wider zero bucket."""
    schema = min(one.schema, other.schema)
    one, other = coarsened(one, schema), coarsened(other, schema)
    threshold = max(one.zero_threshold, other.zero_threshold)
    one, other = _widened(one, threshold), _widened(other, threshold)
    return replace(
        one,
        count=one.count + other.count,
        sum=one.sum + other.sum,
        zero_count=one.zero_count + other.zero_count,
        positive=_added(one.positive, other.positive),
        negative=_added(one.negative, other.negative),
    )


def _counted(buckets: Any) -> dict[int, float]:
    return {
        buckets.offset + place + 1: float(count) for place, count in enumerate(buckets.bucket_counts) if count
    }


def _merged(counts: dict[int, float], steps: int) -> dict[int, float]:
    found: defaultdict[int, float] = defaultdict(float)
    for index, count in counts.items():
        found[((index - 1) >> steps) + 1] += count
    return dict(found)


def _added(one: dict[int, float], other: dict[int, float]) -> dict[int, float]:
    found = dict(one)
    for index, count in other.items():
        found[index] = found.get(index, 0.0) + count
    return found


def _widened(of: Native, threshold: float) -> Native:
    """The histogram with a zero bucket that wide: it swallows the buckets that it reaches into."""
    if threshold <= of.zero_threshold:
        return of
    swallowed = 0.0
    sides = []
    for side in (of.positive, of.negative):
        # By the exponents: 2.0 ** of a far bucket's is beyond what a float holds.
        kept = {
            index: n for index, n in side.items() if (index - 1) * 2.0**-of.schema >= math.log2(threshold)
        }
        swallowed += sum(side.values()) - sum(kept.values())
        sides.append(kept)
    return replace(
        of,
        zero_threshold=threshold,
        zero_count=of.zero_count + swallowed,
        positive=sides[0],
        negative=sides[1],
    )
