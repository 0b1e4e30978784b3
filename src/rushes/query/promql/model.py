"""What a query yields, and the arrays that evaluation works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "NAME",
    "Floats",
    "Integers",
    "Labels",
    "Mask",
    "Objects",
    "PromQLError",
    "QueryResult",
    "Scalar",
    "Series",
    "Text",
    "Value",
    "Vector",
    "is_histogram",
    "key_of",
    "rendered",
    "without_name",
]

NAME: Final = "__name__"

Labels: TypeAlias = dict[str, str]
Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Objects: TypeAlias = npt.NDArray[np.object_]

ErrorType: TypeAlias = Literal["bad_data", "execution", "timeout", "canceled"]


class PromQLError(Exception):
    """A query that can't be answered.

    Attributes:
        error_type: "bad_data" if it can't be understood, "execution" if it failed on the data, "timeout", or
            "canceled".
        message: what is wrong, for the person who wrote it.
    """

    def __init__(self, error_type: ErrorType, message: str) -> None:
        super().__init__(message)
        self.error_type: ErrorType = error_type
        self.message = message


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a result: timestamps in seconds, values beside them.

    Where `histograms` is not empty it is as long as `values`; where it has a native histogram (a
    `rushes.query.promql.native.Histogram`), that is the sample and not the number.
    """

    labels: Labels
    timestamps: Sequence[float]
    values: Sequence[float]
    histograms: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query's answer.

    A "scalar" is one series without labels; a "string" has its text in `text`. `warnings` are likely mistakes
    in the query, `infos` are hints; both are worded as Prometheus words its annotations.
    """

    kind: Literal["vector", "matrix", "scalar", "string"]
    series: list[Series]
    warnings: list[str] = field(default_factory=list)
    text: str = ""
    infos: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Vector:
    """Instant vectors at every step: row s is a series, column t a step; `present` says where it exists.

    `histograms`, if there, has a native histogram wherever the sample is one and None elsewhere.
    """

    labels: list[Labels]
    values: Floats
    present: Mask
    histograms: Objects | None = None

    @staticmethod
    def empty(steps: int) -> Vector:
        return Vector([], np.empty((0, steps)), np.empty((0, steps), dtype=bool))

    @property
    def are_histograms(self) -> Mask:
        """Where the sample is a native histogram."""
        if self.histograms is None:
            return np.zeros(self.present.shape, dtype=bool)
        return is_histogram(self.histograms) & self.present

    @property
    def floats(self) -> Vector:
        """The same without the samples that are native histograms."""
        if self.histograms is None:
            return self
        return Vector(self.labels, self.values, self.present & ~self.are_histograms)

    def rows(self, chosen: Sequence[int]) -> Vector:
        """Some of its series, in the order asked for."""
        at = np.asarray(chosen, dtype=np.int64)
        histograms = None if self.histograms is None else self.histograms[at]
        return Vector([self.labels[row] for row in chosen], self.values[at], self.present[at], histograms)

    def relabelled(self, labels: list[Labels]) -> Vector:
        """The same samples under other labels."""
        return Vector(labels, self.values, self.present, self.histograms)

    def unique(self, *, taking_turns: bool = True) -> Vector:
        """Itself without series that exist nowhere, rows of equal labels as one.

        Raises:
            PromQLError: two series of equal labels exist at the same step, or, unless they may take turns, at all.
        """
        alive = self.present.any(axis=1)
        places: dict[tuple[tuple[str, str], ...], int] = {}
        rows: list[int] = []
        twins: list[tuple[int, int]] = []
        for row in np.flatnonzero(alive).tolist():
            first = places.setdefault(key_of(self.labels[row]), row)
            if first == row:
                rows.append(row)
            else:
                twins.append((first, row))
        if not twins and len(rows) == len(self.labels):
            return self
        if twins and not taking_turns:
            raise _twins()
        if not twins:
            return self.rows(rows)
        values, present = self.values.copy(), self.present.copy()
        histograms = None if self.histograms is None else self.histograms.copy()
        for first, row in twins:
            if (present[first] & present[row]).any():
                raise _twins()
            values[first] = np.where(present[row], values[row], values[first])
            if histograms is not None:
                histograms[first] = np.where(present[row], histograms[row], histograms[first])
            present[first] |= present[row]
        return Vector(self.labels, values, present, histograms).rows(rows)


def _twins() -> PromQLError:
    return PromQLError("execution", "vector cannot contain metrics with the same labelset")


@dataclass(slots=True)
class Scalar:
    """A number at every step."""

    values: Floats


@dataclass(slots=True)
class Text:
    """A string."""

    text: str


Value: TypeAlias = Vector | Scalar | Text


def is_histogram(samples: Objects) -> Mask:
    """Where there is one rather than None."""
    nothing: Any = None
    found: Mask = np.not_equal(samples, nothing)
    return found


def key_of(labels: Labels) -> tuple[tuple[str, str], ...]:
    """Labels as something that can be compared and looked up."""
    return tuple(sorted(labels.items()))


def rendered(labels: Labels) -> str:
    """Labels as Prometheus prints them in messages."""
    parts = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in sorted(labels.items()))
    return "{" + ", ".join(parts) + "}"


_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def without_name(labels: list[Labels]) -> list[Labels]:
    """The labels of results that are no longer that metric."""
    return [{name: value for name, value in of.items() if name != NAME} for of in labels]
