"""Native histograms as remote write sends them: spans of buckets, with counts as differences or absolute."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any, Final

from rushes.ingest.histograms import Native, is_stale, malformed, too_many_buckets
from rushes.ingest.limits import Limits
from rushes.ingest.stats import Reason

__all__ = ["from_remote_write"]

_GAUGE: Final = 3
_CUSTOM: Final = -53
_SCHEMAS: Final = range(-4, 9)
_SLACK: Final = 1e-6  # of float counts that are added up


def from_remote_write(of: Any, limits: Limits) -> Native | Reason:
    """A Histogram message as the store has it, or why it is refused."""
    repeated = (
        of.positive_deltas,
        of.positive_counts,
        of.positive_spans,
        of.negative_deltas,
        of.negative_counts,
        of.negative_spans,
        of.custom_values,
    )
    if max(map(len, repeated)) > limits.buckets:
        return too_many_buckets(limits)
    if of.schema not in _SCHEMAS and of.schema != _CUSTOM:
        return malformed(f"has schema {of.schema}, which is none of -53 and -4 to 8")
    positive = _buckets(of.positive_spans, _absolute(of.positive_deltas, of.positive_counts))
    negative = _buckets(of.negative_spans, _absolute(of.negative_deltas, of.negative_counts))
    if isinstance(positive, str) or isinstance(negative, str):
        return malformed(positive if isinstance(positive, str) else str(negative))
    found = Native(
        count=of.count_float if of.HasField("count_float") else float(of.count_int),
        sum=of.sum,
        schema=of.schema,
        gauge=of.reset_hint == _GAUGE,
        zero_threshold=of.zero_threshold,
        zero_count=of.zero_count_float if of.HasField("zero_count_float") else float(of.zero_count_int),
        positive=positive,
        negative=negative,
        bounds=tuple(of.custom_values),
    )
    wrong = None if is_stale(of.sum) else _defect(found)
    return found if wrong is None else malformed(wrong)


def _defect(of: Native) -> str | None:
    """What contradicts itself."""
    wrong = None
    counts = [of.zero_count, of.count, *of.positive.values(), *of.negative.values()]
    total = sum(counts) - of.count
    # Observations that are not a number are counted, and in no bucket.
    adds_up = (
        total <= of.count * (1 + _SLACK)
        if math.isnan(of.sum)
        else math.isclose(total, of.count, rel_tol=_SLACK)
    )
    if not all(count >= 0 for count in counts):
        wrong = "has a count below zero, or that is no number"
    elif not adds_up:
        wrong = "has buckets that don't add up to its count"
    elif of.schema != _CUSTOM:
        wrong = "has custom bounds and a schema without" if of.bounds else None
    elif of.negative or of.zero_count or any(map(math.isnan, of.bounds)):
        wrong = "has custom bounds and buckets that don't go with them"
    elif not all(low < high for low, high in pairwise(of.bounds)):
        wrong = "has bounds that don't rise"
    elif not all(0 <= index <= len(of.bounds) for index in of.positive):
        wrong = "has a bucket beyond its bounds"
    return wrong


def _absolute(deltas: Any, counts: Any) -> list[float]:
    return list(map(float, accumulate(deltas))) if deltas else list(counts)


def _buckets(spans: Any, counts: list[float]) -> dict[int, float] | str:
    # Lengths are compared before they are used: two bytes can announce four thousand million buckets.
    if sum(span.length for span in spans) != len(counts):
        return "has spans that don't cover its buckets"
    found: dict[int, float] = {}
    index, place = 0, 0
    for number, span in enumerate(spans):
        if number and span.offset < 0:
            return "has spans that go backwards"
        index += span.offset
        for count in counts[place : place + span.length]:
            if count:
                found[index] = count
            index += 1
        place += span.length
    if found and not -(2**31) <= min(found) <= max(found) < 2**31:
        return "has buckets beyond all numbers"
    return found
