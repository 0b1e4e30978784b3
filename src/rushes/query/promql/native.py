"""Native histograms: buckets whose bounds are powers of a base, or a list, and the arithmetic that PromQL has on them.

Buckets are sparse: ascending indices and the count in each. Bucket i of schema n ends at 2**(i * 2**-n) and begins
where bucket i - 1 ends; of custom bounds (schema -53) bucket i ends at the i-th bound, the last at infinity.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from rushes.query.promql.model import Floats, Integers

__all__ = ["CUSTOM", "Buckets", "Histogram", "IncompatibleHistograms"]

CUSTOM: Final = -53
_MAX_EXPONENT: Final = 1024


class IncompatibleHistograms(Exception):  # noqa: N818  nothing is wrong with either of them
    """One has exponential buckets, the other has custom ones."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """One side of a histogram: ascending bucket indices and a count for each."""

    indices: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    counts: Floats = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.indices)

    def scaled(self, factor: float) -> Buckets:
        return Buckets(self.indices, self.counts * factor)

    def compact(self) -> Buckets:
        """Without empty buckets."""
        used = self.counts != 0
        return self if used.all() else Buckets(self.indices[used], self.counts[used])

    def mapped(self, indices: Integers) -> Buckets:
        """Counts moved to other buckets, those that meet added up."""
        unique, inverse = np.unique(indices, return_inverse=True)
        counts: Floats = np.zeros(len(unique))
        np.add.at(counts, inverse, self.counts)
        return Buckets(unique, counts)

    def plus(self, other: Buckets, sign: float) -> Buckets:
        indices = np.concatenate([self.indices, other.indices])
        counts = np.concatenate([self.counts, sign * other.counts])
        return Buckets(indices, counts).mapped(indices)

    def fell(self, before: Buckets) -> bool:
        """Whether any bucket has less than it had."""
        return bool((self.plus(before, -1.0).counts < 0).any())


@dataclass(frozen=True, slots=True)
class Histogram:
    """A native histogram. Nothing changes it; operations make another one.

    `gauge` says that it is a state and no running total, so that it may fall.
    """

    schema: int
    count: float
    sum: float
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: Buckets = field(default_factory=Buckets)
    negative: Buckets = field(default_factory=Buckets)
    bounds: tuple[float, ...] = ()
    gauge: bool = False

    @property
    def custom(self) -> bool:
        """Whether its bounds are a list."""
        return self.schema == CUSTOM

    def __str__(self) -> str:
        """As Prometheus prints it: count, sum, and the buckets that aren't empty."""
        parts = [f"count:{self.count:g}, sum:{self.sum:g}"]
        for lower, upper, count in zip(*(side.tolist() for side in self.buckets()), strict=True):
            left = "[" if lower < 0 and not self.custom else "("
            right = ")" if upper < 0 or (upper == 0 and not self.custom) else "]"
            parts.append(f"{left}{_printed(lower)},{_printed(upper)}{right}:{count:g}")
        return f"{{{', '.join(parts)}}}"

    def uppers(self, indices: Integers) -> Floats:
        """Where buckets of these indices end (on the positive side)."""
        if self.custom:
            bounds = np.array([-np.inf, *self.bounds, np.inf])
            return bounds[np.clip(indices + 1, 0, len(bounds) - 1)]
        exponents = indices * 2.0**-self.schema
        with np.errstate(over="ignore"):
            ends = np.exp2(exponents)
        # The bucket that the largest number falls into ends at that number.
        return np.where(exponents == _MAX_EXPONENT, np.finfo(np.float64).max, ends)

    def buckets(self) -> tuple[Floats, Floats, Floats]:
        """Lower bounds, upper bounds and counts of all buckets that are not empty, from the lowest to the highest."""
        positive, negative = self.positive.compact(), self.negative.compact()
        lower = [-self.uppers(negative.indices)[::-1]]
        upper = [-self.uppers(negative.indices - 1)[::-1]]
        counts = [negative.counts[::-1]]
        if self.zero_count > 0:
            lower.append(np.array([-self.zero_threshold]))
            upper.append(np.array([self.zero_threshold]))
            counts.append(np.array([self.zero_count]))
        lower.append(self.uppers(positive.indices - 1))
        upper.append(self.uppers(positive.indices))
        counts.append(positive.counts)
        return np.concatenate(lower), np.concatenate(upper), np.concatenate(counts)

    def scaled(self, factor: float) -> Histogram:
        """Every count multiplied."""
        return replace(
            self,
            count=self.count * factor,
            sum=self.sum * factor,
            zero_count=self.zero_count * factor,
            positive=self.positive.scaled(factor),
            negative=self.negative.scaled(factor),
            gauge=self.gauge or factor < 0,
        )

    def divided(self, by: float) -> Histogram:
        """Every count divided; by zero, what floats give."""
        with np.errstate(all="ignore"):
            divisor = np.float64(by)
            found = replace(
                self,
                count=float(self.count / divisor),
                sum=float(self.sum / divisor),
                zero_count=float(self.zero_count / divisor),
                positive=Buckets(self.positive.indices, self.positive.counts / divisor),
                negative=Buckets(self.negative.indices, self.negative.counts / divisor),
                gauge=self.gauge or by < 0,
            )
        # Buckets of no resolution are left: dividing by zero leaves no buckets.
        return replace(found, positive=Buckets(), negative=Buckets()) if by == 0 else found

    def compact(self) -> Histogram:
        return replace(self, positive=self.positive.compact(), negative=self.negative.compact())

    def to_schema(self, schema: int) -> Histogram:
        """With wider buckets; `schema` is not above its own."""
        if schema == self.schema or self.custom:
            return self
        shift = self.schema - schema
        return replace(
            self,
            schema=schema,
            positive=self.positive.mapped(((self.positive.indices - 1) >> shift) + 1),
            negative=self.negative.mapped(((self.negative.indices - 1) >> shift) + 1),
        )

    def widened(self, threshold: float) -> Histogram:
        """With a wider zero bucket, as wide as populated buckets that it would cut through demand."""
        if threshold <= self.zero_threshold:
            return self
        positive, negative = self.positive.compact(), self.negative.compact()
        settled = False
        while not settled:
            settled = True
            for side in (positive, negative):
                lower, upper = self.uppers(side.indices - 1), self.uppers(side.indices)
                cut = (lower < threshold) & (upper > threshold)
                if cut.any():
                    threshold, settled = float(upper[cut][-1]), False
        zero = self.zero_count
        kept = []
        for side in (positive, negative):
            inside = self.uppers(side.indices) <= threshold
            zero += float(side.counts[inside].sum())
            kept.append(Buckets(side.indices[~inside], side.counts[~inside]))
        return replace(self, zero_threshold=threshold, zero_count=zero, positive=kept[0], negative=kept[1])

    def plus(self, other: Histogram, sign: float = 1.0) -> Histogram:
        """The sum of two, or their difference with a sign of -1, in the coarser of their layouts.

        Raises:
            IncompatibleHistograms: one has custom bounds, the other has not.
        """
        if self.custom != other.custom:
            raise IncompatibleHistograms
        left, right = self, other
        if self.custom:
            left, right = _with_common_bounds(self, other)
        else:
            while left.zero_threshold != right.zero_threshold:
                left, right = left.widened(right.zero_threshold), right.widened(left.zero_threshold)
            schema = min(left.schema, right.schema)
            left, right = left.to_schema(schema), right.to_schema(schema)
        return replace(
            left,
            count=left.count + sign * right.count,
            sum=left.sum + sign * right.sum,
            zero_count=left.zero_count + sign * right.zero_count,
            positive=left.positive.plus(right.positive, sign),
            negative=left.negative.plus(right.negative, sign),
            gauge=left.gauge or right.gauge or sign < 0,
        )

    def is_reset_of(self, before: Histogram) -> bool:
        """Whether a running total began anew between the two."""
        if self.gauge:
            return False
        if self.count < before.count or self.custom != before.custom:
            return True
        if self.custom:
            now, then = _with_common_bounds(self, before)
            return now.positive.fell(then.positive)
        if self.schema > before.schema or self.zero_threshold < before.zero_threshold:
            return True
        then = before.widened(self.zero_threshold)
        if then.zero_threshold != self.zero_threshold or self.zero_count < then.zero_count:
            return True
        then = then.to_schema(self.schema)
        return self.positive.fell(then.positive) or self.negative.fell(then.negative)

    def equals(self, other: Histogram) -> bool:
        """Whether both say the same, to the last bit."""
        mine, theirs = self.compact(), other.compact()
        numbers = np.array([mine.count, mine.sum, mine.zero_threshold, mine.zero_count])
        others = np.array([theirs.count, theirs.sum, theirs.zero_threshold, theirs.zero_count])
        return (
            (mine.schema, mine.bounds) == (theirs.schema, theirs.bounds)
            and np.array_equal(numbers, others, equal_nan=True)
            and all(
                np.array_equal(a.indices, b.indices) and np.array_equal(a.counts, b.counts)
                for a, b in ((mine.positive, theirs.positive), (mine.negative, theirs.negative))
            )
        )


def _printed(bound: float) -> str:
    return f"{bound:g}" if np.isfinite(bound) else f"{'+' if bound > 0 else '-'}Inf"


def _with_common_bounds(one: Histogram, other: Histogram) -> tuple[Histogram, Histogram]:
    if one.bounds == other.bounds:
        return one, other
    common = tuple(sorted(set(one.bounds) & set(other.bounds)))

    def rebound(of: Histogram) -> Histogram:
        # A bucket goes where its end lies: into the first common bucket that reaches as far.
        indices = np.searchsorted(np.array(common), of.uppers(of.positive.indices))
        return replace(of, bounds=common, positive=of.positive.mapped(indices.astype(np.int64)))

    return rebound(one), rebound(other)
