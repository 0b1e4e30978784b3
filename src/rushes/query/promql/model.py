"""What a query yields, and the arrays that evaluation works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "MAX_POINTS",
    "NAME",
    "Floats",
    "Integers",
    "Labels",
    "Mask",
    "PromQLError",
    "QueryResult",
    "Scalar",
    "Series",
    "Text",
    "Value",
    "Vector",
    "key_of",
    "unsupported",
    "without_name",
]

NAME: Final = "__name__"
MAX_POINTS: Final = 20_000_000
"""Series times steps that one part of a query may span."""

Labels: TypeAlias = dict[str, str]
Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]


class PromQLError(Exception):
    """A query that can't be answered.

    Attributes:
        error_type: "bad_data" if it can't be understood, "execution" if it failed on the data.
        message: what is wrong, for the person who wrote it.
    """

    def __init__(self, error_type: Literal["bad_data", "execution"], message: str) -> None:
        super().__init__(message)
        self.error_type: Literal["bad_data", "execution"] = error_type
        self.message = message


def unsupported(what: str) -> PromQLError:
    """The error for what Prometheus has and this evaluation hasn't yet."""
    return PromQLError("bad_data", f"{what} is not supported yet")


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a result: timestamps in seconds, values beside them."""

    labels: Labels
    timestamps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query's answer.

    A "scalar" is one series without labels; a "string" has its text in `text`.
    """

    kind: Literal["vector", "matrix", "scalar", "string"]
    series: list[Series]
    warnings: list[str] = field(default_factory=list)
    text: str = ""


@dataclass(slots=True)
class Vector:
    """Instant vectors at every step: row s is a series, column t a step; `present` says where it exists."""

    labels: list[Labels]
    values: Floats
    present: Mask

    @staticmethod
    def empty(steps: int) -> Vector:
        return Vector([], np.empty((0, steps)), np.empty((0, steps), dtype=bool))

    def unique(self) -> Vector:
        """Itself without series that exist nowhere, rows of equal labels as one.

        Raises:
            PromQLError: two series of equal labels exist at the same step.
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
        values, present = self.values.copy(), self.present.copy()
        for first, row in twins:
            if (present[first] & present[row]).any():
                raise PromQLError("execution", "vector cannot contain metrics with the same labelset")
            values[first] = np.where(present[row], values[row], values[first])
            present[first] |= present[row]
        return Vector([self.labels[row] for row in rows], values[rows], present[rows])


@dataclass(slots=True)
class Scalar:
    """A number at every step."""

    values: Floats


@dataclass(slots=True)
class Text:
    """A string."""

    text: str


Value: TypeAlias = Vector | Scalar | Text


def key_of(labels: Labels) -> tuple[tuple[str, str], ...]:
    """Labels as something that can be compared and looked up."""
    return tuple(sorted(labels.items()))


def without_name(labels: list[Labels]) -> list[Labels]:
    """The labels of results that are no longer that metric."""
    return [{name: value for name, value in of.items() if name != NAME} for of in labels]
