"""Aggregations: series into groups, or the few of each group that stand out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rushes.query.promql.model import (
    NAME,
    Floats,
    Integers,
    Labels,
    Mask,
    Objects,
    PromQLError,
    Vector,
    key_of,
)
from rushes.query.promql.native import Histogram, IncompatibleHistograms
from rushes.query.promql.notes import Notes
from rushes.query.promql.text import is_label, number

__all__ = ["Grouping", "aggregate", "count_values", "limited", "quantiles", "ranked"]

_INT64: Final = 2.0**63


@dataclass(frozen=True, slots=True)
class Grouping:
    """The labels of `by`, or of `without`."""

    names: tuple[str, ...] = ()
    without: bool = False

    def kept(self, labels: Labels) -> Labels:
        """A series' labels, as far as its group has them."""
        if self.without:
            return {name: value for name, value in labels.items() if name not in self.names and name != NAME}
        return {name: labels[name] for name in self.names if name in labels}


@dataclass(slots=True)
class _Groups:
    """Rows in the order of their groups; group g begins at starts[g]."""

    labels: list[Labels]
    members: list[list[int]]

    @staticmethod
    def of(vector: Vector, grouping: Grouping) -> _Groups:
        members: dict[tuple[Any, ...], list[int]] = {}
        labels: list[Labels] = []
        names = grouping.names
        for row, of_row in enumerate(vector.labels):
            if grouping.without:
                key: tuple[Any, ...] = key_of(grouping.kept(of_row))
            else:
                key = tuple([of_row.get(name) for name in names])
            rows = members.get(key)
            if rows is None:
                rows = members[key] = []
                labels.append(grouping.kept(of_row))
            rows.append(row)
        return _Groups(labels, list(members.values()))

    @property
    def order(self) -> Integers:
        return np.array([row for rows in self.members for row in rows], dtype=np.int64)

    @property
    def starts(self) -> Integers:
        return np.cumsum([0, *(len(rows) for rows in self.members[:-1])])


def aggregate(operator: str, of: Vector, grouping: Grouping, notes: Notes) -> Vector:
    """One series a group: sum, avg, min, max, count, group, stddev or stdvar."""
    groups = _Groups.of(of, grouping)
    if not groups.members:
        return Vector.empty(of.values.shape[1])
    order, starts = groups.order, groups.starts
    floats = of
    if of.histograms is not None and operator not in ("count", "group"):
        floats = of.floats
        if operator not in ("sum", "avg") and of.are_histograms.any():
            notes.ignored_in_aggregation(operator)
    values, there = floats.values[order], floats.present[order]
    counts = np.add.reduceat(there.astype(np.float64), starts, axis=0)
    with np.errstate(all="ignore"):
        result = _REDUCED[operator](values, there, starts, counts)
    found = Vector(groups.labels, result, counts > 0)
    if of.histograms is not None and operator in ("sum", "avg"):
        return _with_histograms(of, groups, found, notes, mean=operator == "avg")
    return found


def _sum(values: Floats, there: Mask, starts: Integers, _: Floats) -> Floats:
    found: Floats = np.add.reduceat(np.where(there, values, 0.0), starts, axis=0)
    return found


def _avg(values: Floats, there: Mask, starts: Integers, counts: Floats) -> Floats:
    mean = _sum(values, there, starts, counts) / counts
    if np.isinf(mean).any():
        finite = np.where(np.isfinite(values) & there, np.abs(values), 0.0)
        largest = float(finite.max()) or 1.0
        shares = np.add.reduceat(np.where(there, values / largest, 0.0), starts, axis=0)
        mean = np.where(np.isinf(mean), shares / counts * largest, mean)
    return mean


def _variance(values: Floats, there: Mask, starts: Integers, counts: Floats) -> Floats:
    sizes = np.diff(np.append(starts, len(values)))
    # Distances from the group's least value, so that equal values have no variance at all.
    least = np.fmin.reduceat(np.where(there, values, np.nan), starts, axis=0)
    apart = np.where(there, values - np.repeat(least, sizes, axis=0), 0.0)
    mean = np.add.reduceat(apart, starts, axis=0) / counts
    squares = np.where(there, (apart - np.repeat(mean, sizes, axis=0)) ** 2, 0.0)
    found: Floats = np.add.reduceat(squares, starts, axis=0) / counts
    return found


def _least(values: Floats, there: Mask, starts: Integers, _: Floats) -> Floats:
    found: Floats = np.fmin.reduceat(np.where(there, values, np.nan), starts, axis=0)
    return found


def _greatest(values: Floats, there: Mask, starts: Integers, _: Floats) -> Floats:
    found: Floats = np.fmax.reduceat(np.where(there, values, np.nan), starts, axis=0)
    return found


def _deviation(values: Floats, there: Mask, starts: Integers, counts: Floats) -> Floats:
    return np.sqrt(_variance(values, there, starts, counts))


_REDUCED: Final[dict[str, Callable[[Floats, Mask, Integers, Floats], Floats]]] = {
    "sum": _sum,
    "avg": _avg,
    "min": _least,
    "max": _greatest,
    "count": lambda _values, _there, _starts, counts: counts,
    "group": lambda _values, _there, _starts, counts: np.ones(counts.shape),
    "stddev": _deviation,
    "stdvar": _variance,
}


def _with_histograms(of: Vector, groups: _Groups, floats: Vector, notes: Notes, *, mean: bool) -> Vector:
    """Sums or means of the histograms; a group that has numbers as well has nothing at that step."""
    values, present = floats.values.copy(), floats.present.copy()
    histograms: Objects = np.full(values.shape, None, dtype=np.object_)
    are = of.are_histograms
    for group, rows in enumerate(groups.members):
        for step in np.flatnonzero(are[rows].any(axis=0)).tolist():
            if present[group, step]:
                notes.mixed()
                present[group, step] = False
                continue
            members = (
                [of.histograms[row, step] for row in rows if are[row, step]]
                if of.histograms is not None
                else []
            )
            total: Histogram = members[0]
            try:
                for each in members[1:]:
                    total = total.plus(each)
            except IncompatibleHistograms:
                notes.incompatible()
                continue
            histograms[group, step] = (total.divided(float(len(members))) if mean else total).compact()
            values[group, step] = np.nan
            present[group, step] = True
    return Vector(floats.labels, values, present, histograms)


def quantiles(of: Vector, grouping: Grouping, quantile: Floats, notes: Notes) -> Vector:
    """The quantile (one a step) of each group, between ranks by a straight line; NaNs rank lowest."""
    for wrong in np.unique(quantile[~((quantile >= 0) & (quantile <= 1))]).tolist():
        notes.bad_quantile(wrong)
    if of.are_histograms.any():
        notes.ignored_in_aggregation("quantile")
    of = of.floats
    groups = _Groups.of(of, grouping)
    steps = np.arange(of.values.shape[1])
    values = np.full((len(groups.members), len(steps)), np.nan)
    present = np.zeros(values.shape, dtype=bool)
    for group, rows in enumerate(groups.members):
        there = of.present[rows]
        count = there.sum(axis=0)
        present[group] = count > 0
        # Not-a-number first, then numbers, then what isn't there.
        held = of.values[rows]
        order = np.lexsort((held, ~np.isnan(held), ~there), axis=0)
        held = np.take_along_axis(held, order, axis=0)
        rank = np.clip(np.nan_to_num(quantile), 0, 1) * np.maximum(count - 1, 0)
        below = np.floor(rank).astype(np.int64)
        above = np.minimum(np.maximum(count - 1, 0), below + 1)
        weight = rank - below
        with np.errstate(invalid="ignore"):
            found = held[below, steps] * (1 - weight) + held[above, steps] * weight
        values[group] = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, found))
    values[:, np.isnan(quantile)] = np.nan
    return Vector(groups.labels, values, present)


def ranked(of: Vector, grouping: Grouping, k: Floats, notes: Notes, *, largest: bool) -> Vector:
    """The series themselves, where they are among the k first of their group; best first at a single step.

    Raises:
        PromQLError: k is no number of series.
    """
    operator = "topk" if largest else "bottomk"
    if of.are_histograms.any():
        notes.ignored_in_aggregation(operator)
    of = of.floats.unique()
    if not of.labels or not (k >= 1).any():
        _demand_integers(k)
        return Vector.empty(of.values.shape[1])
    _demand_integers(k)
    present = np.zeros(of.present.shape, dtype=bool)
    best: list[int] = []
    by_labels = sorted(range(len(of.labels)), key=lambda row: key_of(of.labels[row]))
    of = of.rows(by_labels)
    for rows in _Groups.of(of, grouping).members:
        values, there = of.values[rows], of.present[rows]
        order = np.lexsort((-values if largest else values, np.isnan(values), ~there), axis=0)
        rank = np.argsort(order, axis=0)
        present[rows] = there & (rank + 1 <= np.trunc(k)[None, :])
        best += [rows[place] for place in order[:, 0].tolist()]
    return Vector(of.labels, of.values, present).rows(best)


def limited(of: Vector, grouping: Grouping, k: Floats) -> Vector:
    """`limitk`: k series of each group, the first by their labels of those that exist at the step."""
    _demand_integers(k)
    of = of.rows(sorted(range(len(of.labels)), key=lambda row: key_of(of.labels[row])))
    present = np.zeros(of.present.shape, dtype=bool)
    for rows in _Groups.of(of, grouping).members:
        there = of.present[rows]
        present[rows] = there & (np.cumsum(there, axis=0) <= np.trunc(k)[None, :])
    return Vector(of.labels, of.values, present, of.histograms).unique()


def _demand_integers(k: Floats) -> None:
    if np.isnan(k).any():
        raise PromQLError("execution", "Parameter value is NaN")
    for wrong in k[k <= -_INT64].tolist():
        raise PromQLError("execution", f"Scalar value {_told(wrong)} underflows int64")
    for wrong in k[k >= _INT64].tolist():
        raise PromQLError("execution", f"Scalar value {_told(wrong)} overflows int64")


def _told(value: float) -> str:
    """A large number as Go writes it."""
    return repr(value) if np.isfinite(value) else number(value)


def count_values(of: Vector, grouping: Grouping, name: str) -> Vector:
    """How many series of each group have which value; the value becomes the label `name`.

    Raises:
        PromQLError: that is no label's name.
    """
    if not is_label(name):
        raise PromQLError("execution", f'invalid label name "{name}"')
    if not grouping.without:
        grouping = Grouping((*grouping.names, name))
    places: dict[tuple[tuple[str, str], ...], int] = {}
    labels: list[Labels] = []
    counted: list[Floats] = []
    are = of.are_histograms
    steps = of.values.shape[1]
    for row, of_row in enumerate(of.labels):
        for value, at in _values(of, row, are[row]):
            kept = grouping.kept({**of_row, name: value})
            place = places.setdefault(key_of(kept), len(labels))
            if place == len(labels):
                labels.append(kept)
                counted.append(np.zeros(steps))
            counted[place] += at
    if not labels:
        return Vector.empty(steps)
    values = np.stack(counted)
    return Vector(labels, values, values > 0)


def _values(of: Vector, row: int, histogram: Mask) -> Sequence[tuple[str, Mask]]:
    """The values of a series as text, and at which steps it has them."""
    numbers = of.present[row] & ~histogram
    found = [
        (number(value), numbers & ((of.values[row] == value) | (np.isnan(of.values[row]) & np.isnan(value))))
        for value in np.unique(of.values[row][numbers]).tolist()
    ]
    if of.histograms is not None:
        for step in np.flatnonzero(histogram).tolist():
            at = np.zeros(len(numbers), dtype=bool)
            at[step] = True
            found.append((str(of.histograms[row, step]), at))
    return found
