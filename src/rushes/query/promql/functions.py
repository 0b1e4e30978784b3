"""Functions of instant vectors and scalars: clamping, rounding, labels, absence, sorting."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import numpy as np

from rushes.query.promql.model import (
    Floats,
    Labels,
    PromQLError,
    Scalar,
    Vector,
    without_name,
)
from rushes.store.interface import Store, StoreError, StoreQueryError

__all__ = ["ELEMENTWISE", "absent", "clamped", "label_replaced", "rounded", "scalar", "sorted_by_value"]

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
# As Go's Regexp.Expand reads a template: a name is as long as it can be, a number has no leading zero.
_REFERENCE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,7}")
# What of a pattern can hold a parenthesis that opens no group, then the groups, the named ones with their names.
_GROUP: Final = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|(?P<plain>\((?!\?))|\(\?P?<(?P<name>\w+)>",
    re.DOTALL,
)


def _elementwise(function: Callable[[Floats], Floats]) -> Callable[[Vector], Vector]:
    def apply(of: Vector) -> Vector:
        with np.errstate(all="ignore"):
            return Vector(without_name(of.labels), function(of.values), of.present).unique()

    return apply


ELEMENTWISE: Final = {
    name: _elementwise(function)
    for name, function in {
        "abs": np.abs,
        "ceil": np.ceil,
        "floor": np.floor,
        "exp": np.exp,
        "ln": np.log,
        "log2": np.log2,
        "log10": np.log10,
        "sqrt": np.sqrt,
        "sgn": np.sign,
    }.items()
}
"""Functions of each value alone, by their PromQL names."""


def rounded(of: Vector, to: Floats) -> Vector:
    """To the nearest multiple of `to`, halves up."""
    with np.errstate(all="ignore"):
        inverse = 1.0 / to[None, :]
        values = np.floor(of.values * inverse + 0.5) / inverse
    return Vector(without_name(of.labels), values, of.present).unique()


def clamped(of: Vector, low: Floats, high: Floats) -> Vector:
    """Values between `low` and `high`; nothing at steps where low is above high."""
    values = np.fmax(low[None, :], np.fmin(high[None, :], of.values))
    values = np.where(np.isnan(of.values) | np.isnan(low)[None, :] | np.isnan(high)[None, :], np.nan, values)
    present = of.present & ~(high < low)[None, :]
    return Vector(without_name(of.labels), values, present).unique()


def scalar(of: Vector, steps: int) -> Scalar:
    """The value where the vector has exactly one, else not-a-number."""
    if not of.labels:
        return Scalar(np.full(steps, np.nan))
    single = of.present.sum(axis=0) == 1
    return Scalar(np.where(single, np.where(of.present, of.values, 0.0).sum(axis=0), np.nan))


def absent(of: Vector, labels: Labels, steps: int) -> Vector:
    """1 where the vector has nothing."""
    nothing = np.ones((1, steps), dtype=bool)
    if of.labels:
        nothing[0] = ~of.present.any(axis=0)
    return Vector([labels], np.ones((1, steps)), nothing)


def sorted_by_value(of: Vector, *, descending: bool) -> Vector:
    """Series by their value at the last step, not-a-number last."""
    if not of.labels:
        return of
    values = of.values[:, -1]
    order = np.lexsort((-values if descending else values, np.isnan(values))).tolist()
    return Vector([of.labels[row] for row in order], of.values[order], of.present[order])


def label_replaced(store: Store, of: Vector, arguments: tuple[str, str, str, str]) -> Vector:
    """`label_replace`: set a label to a replacement wherever another's whole value fits a pattern.

    The store applies the pattern, since its engine is the one that Prometheus' patterns are written for
    and takes linear time whatever the pattern.

    Raises:
        PromQLError: the label's name or the pattern can't be used.
    """
    target, replacement, source, pattern = arguments
    if not _LABEL.match(target):
        raise PromQLError("execution", f"invalid destination label name in label_replace(): {target}")
    found = _groups(store, sorted({labels.get(source, "") for labels in of.labels}), pattern)
    places = _places(pattern) if found else {}
    replaced = []
    for labels in of.labels:
        groups = found.get(labels.get(source, ""))
        if groups is None:
            replaced.append(labels)
            continue
        value = _expanded(replacement, groups, places)
        rest = {name: held for name, held in labels.items() if name != target}
        replaced.append(rest | ({target: value} if value else {}))
    return Vector(replaced, of.values, of.present).unique()


def _groups(store: Store, values: list[str], pattern: str) -> dict[str, list[str]]:
    if not values:
        return {}
    try:
        rows = store.rows(
            "SELECT held, groups FROM (SELECT arrayJoin({values:Array(String)}) AS held, "
            "extractGroups(held, {pattern:String}) AS groups) WHERE notEmpty(groups)",
            {"values": values, "pattern": f"^(?s:({pattern}))$"},
        )
    except StoreQueryError as error:
        raise PromQLError("execution", f"invalid regular expression in label_replace(): {pattern}") from error
    except StoreError as error:
        raise PromQLError("execution", str(error)) from error
    return {row["held"]: row["groups"] for row in rows}


def _places(pattern: str) -> dict[str, int]:
    """The numbers of the pattern's named groups."""
    groups = [match["name"] for match in _GROUP.finditer(pattern) if match["name"] or match["plain"]]
    return {name: place for place, name in enumerate(groups, start=1) if name}


def _expanded(replacement: str, groups: list[str], places: dict[str, int]) -> str:
    def group(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return "$"
        place = int(name) if _NUMBER.fullmatch(name) else places.get(name, len(groups))
        return groups[place] if place < len(groups) else ""

    return _REFERENCE.sub(group, replacement)
