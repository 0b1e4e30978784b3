"""Functions of instant vectors that look at each sample alone, at how many there are, or at their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from rushes.query.promql.model import Floats, Labels, Scalar, Vector, without_name

__all__ = ["ELEMENTWISE", "absent", "clamped", "of_numbers", "rounded", "scalar", "sorted_by_value"]


def of_numbers(of: Vector, function: Callable[[Floats], Floats]) -> Vector:
    """A function of each number; histograms are left out."""
    of = of.floats
    with np.errstate(all="ignore"):
        values = function(of.values)
    return Vector(without_name(of.labels), values, of.present).unique()


ELEMENTWISE: Final[dict[str, Callable[[Floats], Floats]]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "sgn": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "rad": lambda values: values * np.pi / 180,
    "deg": lambda values: values * 180 / np.pi,
}
"""Functions of each value alone, by their PromQL names."""


def rounded(of: Vector, to: Floats) -> Vector:
    """To the nearest multiple of `to`, halves up."""
    with np.errstate(all="ignore"):
        inverse = 1.0 / to[None, :]
    return of_numbers(of, lambda values: np.floor(values * inverse + 0.5) / inverse)


def clamped(of: Vector, low: Floats, high: Floats) -> Vector:
    """Values between `low` and `high`; nothing at steps where low is above high."""
    of = of.floats
    values = np.maximum(low[None, :], np.minimum(high[None, :], of.values))
    present = of.present & ~(high < low)[None, :]
    return Vector(without_name(of.labels), values, present).unique()


def scalar(of: Vector, steps: int) -> Scalar:
    """The value where the vector has exactly one number, else not-a-number."""
    if not of.labels:
        return Scalar(np.full(steps, np.nan))
    of = of.floats
    single = of.present.sum(axis=0) == 1
    return Scalar(np.where(single, np.where(of.present, of.values, 0.0).sum(axis=0), np.nan))


def absent(of: Vector, labels: Labels, steps: int) -> Vector:
    """1 where the vector has nothing."""
    nothing = np.ones((1, steps), dtype=bool)
    if of.labels:
        nothing[0] = ~of.present.any(axis=0)
    return Vector([labels], np.ones((1, steps)), nothing).unique()


def sorted_by_value(of: Vector, *, descending: bool) -> Vector:
    """Series by their value at the last step, not-a-number last; histograms are left out."""
    of = of.floats
    if not of.labels:
        return of
    values = of.values[:, -1]
    return of.rows(np.lexsort((-values if descending else values, np.isnan(values))).tolist())
