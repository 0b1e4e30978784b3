"""Binary operators on single samples: numbers all at once, native histograms one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rushes.query.promql.model import Floats, Mask, Objects, Vector, is_histogram
from rushes.query.promql.native import Histogram, IncompatibleHistograms
from rushes.query.promql.notes import Notes

__all__ = ["COMPARISONS", "Operand", "combined", "scalars"]

COMPARISONS: Final[dict[str, Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}


@dataclass(slots=True)
class Operand:
    """Samples of one side; `histograms`, if there, has one wherever the sample is one."""

    values: Floats
    histograms: Objects | None = None

    @staticmethod
    def row(of: Vector, row: int) -> Operand:
        """One series of a vector."""
        return Operand(of.values[row], None if of.histograms is None else of.histograms[row])

    def where(self, here: Mask, other: Operand) -> Operand:
        """Its own samples here, another's elsewhere."""
        histograms = None
        if self.histograms is not None or other.histograms is not None:
            histograms = np.where(here, self.objects, other.objects)
        return Operand(np.where(here, self.values, other.values), histograms)

    @property
    def objects(self) -> Objects:
        if self.histograms is None:
            return np.full(self.values.shape, None, dtype=np.object_)
        return self.histograms


def scalars(operator: str, left: Floats, right: Floats) -> Floats:
    """An operator between numbers; comparisons give 0 and 1."""
    with np.errstate(all="ignore"):
        found: Floats = np.asarray(_function(operator)(left, right), dtype=np.float64)
    return found


def combined(
    operator: str, left: Operand, right: Operand, present: Mask, notes: Notes, *, return_bool: bool
) -> tuple[Operand, Mask]:
    """An operator between samples where both are present: its results, and where there are any.

    Of a comparison the results are 0 and 1, and, unless it returns them, they are only where it holds.
    """
    compares = operator in COMPARISONS
    values = scalars(operator, left.values, right.values)
    keep = present if not compares or return_bool else present & (values != 0)
    if left.histograms is None and right.histograms is None:
        return Operand(values), keep
    histograms: Objects = np.full(values.shape, None, dtype=np.object_)
    keep = keep.copy()
    lefts, rights = left.objects, right.objects
    touched = present & (is_histogram(lefts) | is_histogram(rights))
    for place in zip(*np.nonzero(touched), strict=True):
        a: Any = lefts[place] if lefts[place] is not None else float(left.values[place])
        b: Any = rights[place] if rights[place] is not None else float(right.values[place])
        found = _one(operator, a, b, notes)
        if found is None:
            keep[place] = False
        elif isinstance(found, Histogram):
            histograms[place], values[place] = found, np.nan
        else:
            values[place] = float(found)
            keep[place] = found or return_bool
    return Operand(values, histograms), keep


def _one(operator: str, left: Any, right: Any, notes: Notes) -> Histogram | bool | None:
    """An operator of which at least one side is a histogram; None where it has no meaning."""
    kinds = tuple("histogram" if isinstance(side, Histogram) else "float" for side in (left, right))
    found: Histogram | bool | None = None
    match (kinds, operator):
        case (("histogram", "histogram"), "+" | "-"):
            try:
                found = left.plus(right, 1.0 if operator == "+" else -1.0).compact()
            except IncompatibleHistograms:
                notes.incompatible()
        case (("histogram", "histogram"), "==" | "!="):
            found = left.equals(right) == (operator == "==")
        case (("histogram", "float"), "*"):
            found = left.scaled(right).compact()
        case (("histogram", "float"), "/"):
            found = left.divided(right).compact()
        case (("float", "histogram"), "*"):
            found = right.scaled(left).compact()
        case _:
            notes.incompatible_types(kinds[0], operator, kinds[1])
    return found


def _function(operator: str) -> Callable[[Floats, Floats], Any]:
    function: Callable[[Floats, Floats], Any] = COMPARISONS.get(operator) or _ARITHMETIC[operator]
    return function
