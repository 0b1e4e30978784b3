"""Binary operators: arithmetic, comparison and sets, with Prometheus' vector matching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from rushes.query.promql.model import (
    NAME,
    Floats,
    Labels,
    Mask,
    PromQLError,
    Scalar,
    Vector,
    key_of,
    unsupported,
    without_name,
)

__all__ = ["COMPARISONS", "SETS", "Matching", "binary"]

COMPARISONS: Final[dict[str, Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
_ARITHMETIC: Final[dict[str, Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
SETS: Final = ("and", "or", "unless")


@dataclass(frozen=True, slots=True)
class Matching:
    """How series of two vectors find each other.

    Attributes:
        on: whether `names` are the labels that count, rather than those that don't.
        names: labels of on() or ignoring().
        many: which side may have several series for one of the other: "left", "right" or "".
        include: labels that group_left or group_right takes over from the one side.
    """

    on: bool = False
    names: tuple[str, ...] = ()
    many: str = ""
    include: tuple[str, ...] = ()
    _ignored: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ignored", frozenset((*self.names, NAME)))

    def signature(self, labels: Labels) -> tuple[Any, ...]:
        """Equal for series that match."""
        if self.on:
            return tuple(labels.get(name, "") for name in self.names)
        return key_of({name: value for name, value in labels.items() if name not in self._ignored})


def binary(
    operator: str, left: Vector | Scalar, right: Vector | Scalar, matching: Matching, *, return_bool: bool
) -> Vector | Scalar:
    """Apply a binary operator.

    Raises:
        PromQLError: the series can't be matched, or the operator isn't known.
    """
    if operator in SETS and isinstance(left, Vector) and isinstance(right, Vector):
        return _set(operator, left, right, matching)
    if operator not in _ARITHMETIC and operator not in COMPARISONS:
        raise unsupported(f"operator {operator}")
    with np.errstate(all="ignore"):
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            return Scalar(_function(operator)(left.values, right.values).astype(np.float64))
        if isinstance(left, Vector) and isinstance(right, Vector):
            return _matched(operator, left, right, matching, return_bool=return_bool)
        return _with_scalar(operator, left, right, return_bool=return_bool)


def _function(operator: str) -> Callable[[Floats, Floats], Any]:
    function: Callable[[Floats, Floats], Any] = COMPARISONS.get(operator) or _ARITHMETIC[operator]
    return function


def _with_scalar(
    operator: str, left: Vector | Scalar, right: Vector | Scalar, *, return_bool: bool
) -> Vector:
    vector = left if isinstance(left, Vector) else right
    if not isinstance(vector, Vector):
        raise TypeError("one side must be a vector")
    a = left.values if isinstance(left, Vector) else left.values[None, :]
    b = right.values if isinstance(right, Vector) else right.values[None, :]
    found = _function(operator)(a, b)
    if operator in COMPARISONS and not return_bool:
        return Vector(vector.labels, vector.values, vector.present & found).unique()
    return Vector(without_name(vector.labels), found.astype(np.float64), vector.present).unique()


def _merged(of: Vector, matching: Matching, side: str) -> dict[tuple[Any, ...], tuple[Labels, Floats, Mask]]:
    """The one side by signature; series that take turns are one."""
    found: dict[tuple[Any, ...], tuple[Labels, Floats, Mask]] = {}
    for row, labels in enumerate(of.labels):
        key = matching.signature(labels)
        values, present = of.values[row], of.present[row]
        if key in found:
            _, known, there = found[key]
            if (there & present).any():
                raise PromQLError(
                    "execution",
                    f"found duplicate series for the match group on the {side} side of the operation: "
                    "many-to-many matching not allowed: matching labels must be unique on one side",
                )
            values, present = np.where(present, values, known), there | present
        found[key] = (labels, values, present)
    return found


def _matched(operator: str, left: Vector, right: Vector, matching: Matching, *, return_bool: bool) -> Vector:
    swapped = matching.many == "right"
    many, one = (right, left) if swapped else (left, right)
    partners = _merged(one, matching, "left" if swapped else "right")
    function = _function(operator)
    filters = operator in COMPARISONS and not return_bool
    labels: list[Labels] = []
    values: list[Floats] = []
    masks: list[Mask] = []
    taken: dict[tuple[Any, ...], Mask] = {}
    for row, of_row in enumerate(many.labels):
        key = matching.signature(of_row)
        if key not in partners:
            continue
        partner, theirs, there = partners[key]
        ours = many.values[row]
        found = function(theirs, ours) if swapped else function(ours, theirs)
        present = many.present[row] & there
        if filters:
            # A comparison keeps the left side's value.
            present = present & found
            found = theirs if swapped else ours
        result = _result_labels(of_row, partner, matching, keep_name=filters)
        group = (key,) if not matching.many else key_of(result)
        if (taken.get(group, np.False_) & present).any():
            raise PromQLError("execution", _ambiguous(matching))
        taken[group] = taken.get(group, np.False_) | present
        labels.append(result)
        values.append(np.asarray(found, dtype=np.float64))
        masks.append(present)
    if not labels:
        return Vector.empty(left.values.shape[1])
    return Vector(labels, np.stack(values), np.stack(masks)).unique()


def _ambiguous(matching: Matching) -> str:
    if matching.many:
        return "multiple matches for labels: grouping labels must ensure unique matches"
    return "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"


def _result_labels(labels: Labels, partner: Labels, matching: Matching, *, keep_name: bool) -> Labels:
    result = dict(labels)
    if not keep_name:
        result.pop(NAME, None)
    if not matching.many:
        if matching.on:
            result = {name: value for name, value in result.items() if name in matching.names}
        else:
            result = {name: value for name, value in result.items() if name not in matching.names}
    for name in matching.include:
        if partner.get(name):
            result[name] = partner[name]
        else:
            result.pop(name, None)
    return result


def _set(operator: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    steps = left.values.shape[1]
    if operator == "or":
        held = _presence(left, matching, steps)
        none = np.zeros(steps, dtype=bool)
        added = [
            right.present[row] & ~held.get(matching.signature(labels), none)
            for row, labels in enumerate(right.labels)
        ]
        extra = np.stack(added) if added else right.present
        return Vector(
            left.labels + right.labels,
            np.concatenate([left.values, right.values]),
            np.concatenate([left.present, extra]),
        ).unique()
    held = _presence(right, matching, steps)
    none = np.zeros(steps, dtype=bool)
    masks = []
    for row, labels in enumerate(left.labels):
        there = held.get(matching.signature(labels), none)
        masks.append(left.present[row] & (there if operator == "and" else ~there))
    return Vector(left.labels, left.values, np.stack(masks) if masks else left.present).unique()


def _presence(of: Vector, matching: Matching, steps: int) -> dict[tuple[Any, ...], Mask]:
    found: dict[tuple[Any, ...], Mask] = {}
    for row, labels in enumerate(of.labels):
        key = matching.signature(labels)
        found[key] = found.get(key, np.zeros(steps, dtype=bool)) | of.present[row]
    return found
