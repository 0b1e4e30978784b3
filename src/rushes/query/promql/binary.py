"""Binary operators: arithmetic and comparison, elementwise and between vectors, with Prometheus' matching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from rushes.query.promql.elements import COMPARISONS, Operand, combined, scalars
from rushes.query.promql.model import (
    NAME,
    Labels,
    Mask,
    PromQLError,
    Scalar,
    Vector,
    key_of,
    rendered,
    without_name,
)
from rushes.query.promql.notes import Notes

__all__ = ["SETS", "Matching", "binary"]

SETS: Final = ("and", "or", "unless")

Signature = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Matching:
    """How series of two vectors find each other.

    Attributes:
        on: whether `names` are the labels that count, rather than those that don't.
        names: labels of on() or ignoring().
        many: which side may have several series for one of the other: "left", "right" or "".
        include: labels that group_left or group_right takes over from the one side.
        fill_left: the value of a left side that is missing, None for no result.
        fill_right: likewise of the right side.
    """

    on: bool = False
    names: tuple[str, ...] = ()
    many: str = ""
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None
    _ignored: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ignored", frozenset((*self.names, NAME)))

    def group(self, labels: Labels) -> Labels:
        """The labels by which it matches."""
        if self.on:
            return {name: labels[name] for name in self.names if name in labels}
        return {name: value for name, value in labels.items() if name not in self._ignored}

    def signature(self, labels: Labels) -> Signature:
        """Equal for series that match."""
        if self.on:
            return tuple(labels.get(name, "") for name in self.names)
        return key_of(self.group(labels))


def binary(
    operator: str,
    left: Vector | Scalar,
    right: Vector | Scalar,
    matching: Matching,
    notes: Notes,
    *,
    return_bool: bool,
) -> Vector | Scalar:
    """Apply a binary operator.

    Raises:
        PromQLError: the series can't be matched.
    """
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return Scalar(scalars(operator, left.values, right.values))
    if isinstance(left, Vector) and isinstance(right, Vector):
        if operator in SETS:
            return _set(operator, left, right, matching)
        return _Join(operator, left, right, matching, notes, return_bool).result()
    return _with_scalar(operator, left, right, notes, return_bool=return_bool)


def _with_scalar(
    operator: str, left: Vector | Scalar, right: Vector | Scalar, notes: Notes, *, return_bool: bool
) -> Vector:
    vector = left if isinstance(left, Vector) else right
    if not isinstance(vector, Vector):
        raise TypeError("one side must be a vector")

    def operand(side: Vector | Scalar) -> Operand:
        if isinstance(side, Vector):
            return Operand(side.values, side.histograms)
        return Operand(np.broadcast_to(side.values[None, :], vector.values.shape))

    found, keep = combined(
        operator, operand(left), operand(right), vector.present, notes, return_bool=return_bool
    )
    if operator in COMPARISONS and not return_bool:
        # The vector's own samples stay, whichever side they are on.
        return Vector(vector.labels, vector.values, keep, vector.histograms).unique()
    return Vector(without_name(vector.labels), found.values, keep, found.histograms).unique()


@dataclass(slots=True)
class _Partner:
    """The one side's series of a match group: mostly a single one, else several that take turns."""

    labels: Labels
    operand: Operand
    present: Mask


@dataclass(slots=True)
class _Join:
    """An operator between two vectors."""

    operator: str
    left: Vector
    right: Vector
    matching: Matching
    notes: Notes
    return_bool: bool
    _rows: list[Vector] = field(default_factory=list)
    _taken: dict[Signature, Mask] = field(default_factory=dict)

    @property
    def _swapped(self) -> bool:
        return self.matching.many == "right"

    def result(self) -> Vector:
        many, one = (self.right, self.left) if self._swapped else (self.left, self.right)
        left, right = self.matching.fill_left, self.matching.fill_right
        fill_many, fill_one = (right, left) if self._swapped else (left, right)
        steps = many.values.shape[1]
        # Where nothing is on one side, nothing is matched, and no series are one too many.
        matters: Mask = np.any(many.present, axis=0)
        if fill_one is not None or fill_many is not None:
            matters = np.ones(steps, dtype=bool)
        partners = self._partners(one, matters)
        matched: dict[Signature, Mask] = {}
        for row, labels in enumerate(many.labels):
            key = self.matching.signature(labels)
            ours = Operand.row(many, row)
            there = many.present[row]
            matched[key] = matched.get(key, np.zeros(steps, dtype=bool)) | there
            partner = partners.get(key)
            if partner is not None:
                self._join(key, (labels, partner.labels), ours, partner.operand, there & partner.present)
            if fill_one is not None:
                missing = there if partner is None else there & ~partner.present
                filled = Operand(np.full(steps, fill_one))
                self._join(key, (labels, self.matching.group(labels)), ours, filled, missing)
        if fill_many is not None:
            for key, partner in partners.items():
                alone = partner.present & ~matched.get(key, np.zeros(steps, dtype=bool))
                filled = Operand(np.full(steps, fill_many))
                group = self.matching.group(partner.labels)
                self._join(key, (group, partner.labels), filled, partner.operand, alone)
        return _stacked(self._rows, steps).unique()

    def _partners(self, one: Vector, matters: Mask) -> dict[Signature, _Partner]:
        found: dict[Signature, _Partner] = {}
        for row, labels in enumerate(one.labels):
            key = self.matching.signature(labels)
            operand, present = Operand.row(one, row), one.present[row]
            known = found.get(key)
            if known is not None:
                if (known.present & present & matters).any():
                    raise self._duplicate(labels, known.labels)
                operand, present = operand.where(present, known.operand), known.present | present
            found[key] = _Partner(labels, operand, present)
        return found

    def _duplicate(self, labels: Labels, other: Labels) -> PromQLError:
        side = "left" if self._swapped else "right"
        return PromQLError(
            "execution",
            f"found duplicate series for the match group {rendered(self.matching.group(labels))} on the {side} "
            f"hand-side of the operation: [{rendered(labels)}, {rendered(other)}];many-to-many matching not allowed: "
            "matching labels must be unique on one side",
        )

    def _join(
        self, key: Signature, labels: tuple[Labels, Labels], ours: Operand, theirs: Operand, present: Mask
    ) -> None:
        if not present.any():
            return
        matching = self.matching
        left, right = (theirs, ours) if self._swapped else (ours, theirs)
        found, keep = combined(self.operator, left, right, present, self.notes, return_bool=self.return_bool)
        filters = self.operator in COMPARISONS and not self.return_bool
        if filters:
            found = left
        result = _result_labels(*labels, matching, keep_name=filters)
        group = (key,) if not matching.many else key_of(result)
        taken = self._taken.get(group)
        if taken is not None and (taken & present).any():
            raise PromQLError("execution", _ambiguous(matching))
        self._taken[group] = present if taken is None else taken | present
        histograms = None if found.histograms is None else found.histograms[None, :]
        self._rows.append(Vector([result], found.values[None, :], keep[None, :], histograms))


def _stacked(rows: list[Vector], steps: int) -> Vector:
    if not rows:
        return Vector.empty(steps)
    histograms = None
    if any(row.histograms is not None for row in rows):
        nothing = np.full((1, steps), None, dtype=np.object_)
        histograms = np.concatenate([nothing if row.histograms is None else row.histograms for row in rows])
    return Vector(
        [row.labels[0] for row in rows],
        np.concatenate([row.values for row in rows]),
        np.concatenate([row.present for row in rows]),
        histograms,
    )


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
        added = _where(right, _presence(left, matching, steps), matching, inside=False)
        both = [left, Vector(right.labels, right.values, added, right.histograms)]
        histograms = None
        if left.histograms is not None or right.histograms is not None:
            histograms = np.concatenate(
                [
                    np.full(each.values.shape, None, dtype=np.object_)
                    if each.histograms is None
                    else each.histograms
                    for each in both
                ]
            )
        return Vector(
            left.labels + right.labels,
            np.concatenate([each.values for each in both]),
            np.concatenate([each.present for each in both]),
            histograms,
        ).unique()
    held = _presence(right, matching, steps)
    present = _where(left, held, matching, inside=operator == "and")
    return Vector(left.labels, left.values, present, left.histograms).unique()


def _where(of: Vector, held: dict[Signature, Mask], matching: Matching, *, inside: bool) -> Mask:
    """Where the other side has the signature of each series, or has not."""
    if not of.labels:
        return of.present
    none = np.zeros(of.values.shape[1], dtype=bool)
    found = np.stack([held.get(matching.signature(labels), none) for labels in of.labels])
    return of.present & (found if inside else ~found)


def _presence(of: Vector, matching: Matching, steps: int) -> dict[Signature, Mask]:
    found: dict[Signature, Mask] = {}
    for row, labels in enumerate(of.labels):
        key = matching.signature(labels)
        found[key] = found.get(key, np.zeros(steps, dtype=bool)) | of.present[row]
    return found
