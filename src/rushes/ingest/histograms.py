"""Histograms on their way to the store, and the value that ends a series."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from rushes.ingest.limits import Limits
from rushes.ingest.stats import Reason

__all__ = ["STALE", "Bucketed", "Native", "is_stale", "malformed", "too_many_buckets"]

_STALE_BITS: Final = 0x7FF0000000000002
STALE: Final[float] = struct.unpack("<d", struct.pack("<Q", _STALE_BITS))[0]
"""The value that ends a series, as Prometheus has it: one of the many not-a-numbers."""


def is_stale(value: float) -> bool:
    """Whether this is the marker, and no ordinary not-a-number."""
    return bool(struct.unpack("<Q", struct.pack("<d", value))[0] == _STALE_BITS)


@dataclass(frozen=True, slots=True)
class Bucketed:
    """A histogram with explicit bounds: a count for each bucket (one more than there are bounds), and their sum."""

    bounds: list[float]
    counts: list[int]
    count: int
    sum: float | None


@dataclass(frozen=True, slots=True)
class Native:
    """A native histogram as the store has it: buckets by Prometheus' index, absolute counts."""

    count: float
    sum: float
    schema: int
    gauge: bool
    zero_threshold: float
    zero_count: float
    positive: dict[int, float]
    negative: dict[int, float]
    bounds: tuple[float, ...] = ()


def too_many_buckets(limits: Limits) -> Reason:
    """Why a histogram, or a summary, that has too many of them is refused."""
    return Reason("too_many_buckets", f"more than {limits.buckets} buckets or quantiles")


def malformed(how: str) -> Reason:
    """Why a histogram that contradicts itself is refused."""
    return Reason("malformed_histogram", f"histogram {how}")
