"""`label_replace` and `label_join`: labels made out of labels."""

from __future__ import annotations

import re
from typing import Any, Final

from rushes.query.promql.model import Labels, PromQLError, Vector, key_of
from rushes.query.promql.reader import Reader
from rushes.query.promql.text import is_label

__all__ = ["label_joined", "label_replaced", "sorted_by_labels"]

# As Go's Regexp.Expand reads a template: a name is as long as it can be, a number has no leading zero.
_REFERENCE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")
_PARTS: Final = re.compile(r"[0-9]+|[^0-9]+")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,7}")
# What of a pattern can hold a parenthesis that opens no group, then the groups, the named ones with their names.
_GROUP: Final = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|(?P<plain>\((?!\?))|\(\?P?<(?P<name>\w+)>",
    re.DOTALL,
)


def label_joined(of: Vector, target: str, separator: str, sources: list[str]) -> Vector:
    """`label_join`: set a label to the values of others, one after another.

    Raises:
        PromQLError: a label's name can't be used.
    """
    for source in sources:
        if not is_label(source):
            raise PromQLError("execution", f"invalid source label name in label_join(): {source}")
    if not is_label(target):
        raise PromQLError("execution", f"invalid destination label name in label_join(): {target}")
    joined = []
    for labels in of.labels:
        value = separator.join(labels.get(source, "") for source in sources)
        joined.append(_with_label(labels, target, value))
    return of.relabelled(joined).unique()


def sorted_by_labels(of: Vector, names: list[str], *, descending: bool) -> Vector:
    """`sort_by_label`: by these labels' values, numbers in them by their size, then by all labels."""

    def key(row: int) -> tuple[Any, ...]:
        labels = of.labels[row]
        return (*(_natural(labels.get(name, "")) for name in names), key_of(labels))

    return of.rows(sorted(range(len(of.labels)), key=key, reverse=descending))


def _natural(text: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in _PARTS.findall(text)]


def _with_label(labels: Labels, name: str, value: str) -> Labels:
    """An empty label is none."""
    rest = {key: held for key, held in labels.items() if key != name}
    return rest | ({name: value} if value else {})


def label_replaced(reader: Reader, of: Vector, arguments: tuple[str, str, str, str]) -> Vector:
    """`label_replace`: set a label to a replacement wherever another's whole value fits a pattern.

    The store applies the pattern, since its engine is the one that Prometheus' patterns are written for
    and takes linear time whatever the pattern.

    Raises:
        PromQLError: the label's name or the pattern can't be used.
    """
    target, replacement, source, pattern = arguments
    if not is_label(target):
        raise PromQLError("execution", f"invalid destination label name in label_replace(): {target}")
    found = _groups(reader, sorted({labels.get(source, "") for labels in of.labels}), pattern)
    places = _places(pattern) if found else {}
    replaced = []
    for labels in of.labels:
        groups = found.get(labels.get(source, ""))
        if groups is None:
            replaced.append(labels)
            continue
        replaced.append(_with_label(labels, target, _expanded(replacement, groups, places)))
    return of.relabelled(replaced).unique()


def _groups(reader: Reader, values: list[str], pattern: str) -> dict[str, list[str]]:
    """What each value's groups hold, the whole first, of those that fit; a pattern must be one even without values."""
    try:
        table = reader.table(
            "SELECT held, groups FROM (SELECT arrayJoin({values:Array(String)}) AS held, "
            "extractGroups(held, {pattern:String}) AS groups) WHERE notEmpty(groups)",
            {"values": values or [""], "pattern": f"^(?s:({pattern}))$"},
        )
    except PromQLError as error:
        if error.error_type != "bad_data":
            raise
        raise PromQLError("execution", f"invalid regular expression in label_replace(): {pattern}") from error
    return dict(zip(table["held"].to_pylist(), table["groups"].to_pylist(), strict=True))


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
