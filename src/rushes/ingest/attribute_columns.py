"""Attributes of many rows at once, as the store's two columns have them: a map of strings, and JSON for the rest.

Attributes repeat from row to row (a model, a tier, a worker): each different one is decoded once, and the rows
refer to it. Only values within values (lists, key-value lists) are walked one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from rushes.ingest.attributes import compact, is_beyond_json, otlp_json, plain
from rushes.ingest.limits import Limits, UndecodableBody
from rushes.ingest.nested import Bools, Ints, as_bools, constant, lists_of, owners, shortened
from rushes.ingest.otlp_wire import OTLP
from rushes.ingest.stats import Refusals
from rushes.ingest.wire import parsed

__all__ = ["Attributes", "Texts", "attributes", "texts"]


class Attributes(NamedTuple):
    """Of each row: its strings as a map, everything else as JSON ("" for none), and the columns asked for.

    `exact` is JSON too, of those values that the others don't say exactly: see `Texts.exact`.
    """

    strings: Any
    typed: Any
    own: list[Any]
    exact: Any


class Texts(NamedTuple):
    """AnyValues as text: strings as they are, everything else as JSON has it.

    Attributes:
        values: the AnyValues.
        text: of each, "null" if it has no value.
        is_string: which are read as strings.
        missing: which have no value.
        inexact: which have bytes or numbers that JSON doesn't have, and were not cut.
    """

    values: Any
    text: Any
    is_string: Bools
    missing: Bools
    inexact: Bools

    @property
    def is_other(self) -> Bools:
        """Which are values that their text alone doesn't say."""
        return ~self.missing & (~self.is_string | self.inexact | as_bools(pc.equal(self.text, "")))

    def exact(self, wanted: Bools) -> Any:
        """JSON of what some of the values are exactly: null where the text is JSON itself, else OTLP's JSON."""
        rows = self.values.filter(pa.array(wanted)).to_pylist()
        text_says = (~self.is_string & ~self.inexact)[wanted].tolist()
        return pa.array(
            [
                "null" if says else compact(otlp_json(_any_value(of or {})))
                for of, says in zip(rows, text_says, strict=True)
            ],
            pa.string(),
        )


def attributes(
    lists: Any, limits: Limits, refusals: Refusals, own: Sequence[str] = (), *, budget: int
) -> Attributes:
    """The attributes of a column of lists of encoded KeyValues.

    The first of equal keys wins, as OpenTelemetry has it.

    Args:
        lists: a column of lists of bytes.
        limits: how many and how long they may be.
        refusals: counts what was cut.
        own: keys that get a column of their own, as text, instead of a place among the rest.
        budget: how many attributes there can be at most, from the size of the request.
    """
    rows = len(lists)
    encoded, owner = lists.flatten(), owners(lists)
    if len(encoded) > budget:
        raise UndecodableBody(f"the body announces {len(encoded)} attributes, which can't be")
    different = encoded.dictionary_encode()
    pairs = OTLP.many("KeyValue", different.dictionary, budget)
    values = texts(pairs.column("value"), limits, refusals)
    names, _ = shortened(pairs.column("key"), limits.value_length)
    which = different.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    keys = names.dictionary_encode()
    key_of = keys.indices.to_numpy(zero_copy_only=False).astype(np.int64)[which]
    keep = _kept(owner, key_of, (rows, len(keys.dictionary)), limits, refusals)
    if keep is not None:
        which, key_of, owner = which[keep], key_of[keep], owner[keep]
    named = keys.dictionary.to_pylist()
    is_string = values.is_string[which]
    inexact = values.inexact[which]
    columns, rest = [], np.ones(len(which), bool)
    for name in own:
        mine = key_of == (named.index(name) if name in named else -1)
        columns.append(_scattered(mine, owner, which, values, rows))
        inexact |= mine & (values.is_other | values.missing)[which]
        rest &= ~mine
    exact = constant("", rows)
    if inexact.any():
        text = values.exact(_marked(which[inexact], len(names)))
        place = np.cumsum(_marked(which[inexact], len(names))) - 1
        text = text.take(pa.array(place[which[inexact]]))
        exact = _json(named, key_of[inexact], text, owner[inexact], rows)
    is_string &= rest
    strings = _map(names, values.text, which[is_string], owner[is_string], rows)
    other = rest & ~values.is_string[which]
    typed = _json(named, key_of[other], values.text.take(pa.array(which[other])), owner[other], rows)
    return Attributes(strings, typed, columns, exact)


def texts(values: Any, limits: Limits, refusals: Refusals) -> Texts:
    """A column of AnyValues as text. Strings longer than the limit are cut."""
    rows = len(values)
    text, cut = shortened(pc.struct_field(values, "text"), limits.value_length)
    refusals.cut += cut
    is_string = as_bools(pc.is_valid(text))
    if is_string.all():
        return Texts(values, text, is_string, np.zeros(rows, bool), np.zeros(rows, bool))
    number = pc.struct_field(values, "double")
    written = number.cast(pa.string())
    whole = pc.invert(pc.match_substring_regex(written, "[.eni]"))  # "5" would read back as an integer
    written = pc.if_else(whole, pc.binary_join_element_wise(written, ".0", ""), written)
    truth = pc.struct_field(values, "bool")
    text = pc.coalesce(
        text,
        pc.struct_field(values, "int").cast(pa.string()),
        pc.if_else(truth, "true", "false"),
        written,
    )
    inexact = as_bools(pc.fill_null(pc.invert(pc.is_finite(number)), fill_value=False))
    is_string |= inexact
    for name in _RARE:
        column = pc.struct_field(values, name)
        if column.null_count == len(column):
            continue
        there = pc.is_valid(column)
        walked = [_walked(name, of, limits, refusals) for of in column.filter(there).to_pylist()]
        text = pc.replace_with_mask(text, there, pa.array([of for of, _ in walked], pa.string()))
        inexact[as_bools(there)] = [beyond for _, beyond in walked]
        if name == "bytes":
            is_string |= as_bools(there)
    missing = as_bools(pc.is_null(text))
    return Texts(values, pc.fill_null(text, "null"), is_string, missing, inexact)


_RARE: Final[dict[str, Callable[[bytes], AnyValue]]] = {
    "bytes": lambda raw: AnyValue(bytes_value=raw),
    "array": lambda raw: AnyValue(array_value=parsed(ArrayValue(), raw)),
    "pairs": lambda raw: AnyValue(kvlist_value=parsed(KeyValueList(), raw)),
}
_SCALARS: Final = {"text": "string_value", "bool": "bool_value", "int": "int_value", "double": "double_value"}


def _walked(name: str, raw: bytes, limits: Limits, refusals: Refusals) -> tuple[str, bool]:
    """A value that is rare as text, and whether that says less than there was (not: less than is allowed)."""
    value, before = _RARE[name](raw), refusals.cut
    found = plain(value, limits, refusals)
    text = found if isinstance(found, str) else compact(found)
    return text, refusals.cut == before and is_beyond_json(value)


def _any_value(of: dict[str, Any]) -> AnyValue:
    """A row of a column of AnyValues as OTLP's own message."""
    for name, value in of.items():
        if value is not None:
            return _RARE[name](value) if name in _RARE else AnyValue(**{_SCALARS[name]: value})
    return AnyValue()


def _marked(places: Ints, size: int) -> Bools:
    found = np.zeros(size, bool)
    found[places] = True
    return found


def _kept(
    owner: Ints, key_of: Ints, shape: tuple[int, int], limits: Limits, refusals: Refusals
) -> Bools | None:
    """Which attributes to keep, or None for all: not the second of a key, and not more of a row than allowed."""
    rows, keys = shape
    place = owner * keys + key_of
    keep = np.ones(len(owner), bool)
    if rows * keys <= 8 * len(owner) + 1024:  # the usual case: few keys, in most rows
        seen = np.zeros(rows * keys + 1, bool)
        seen[place] = True
        repeated = int(seen.sum()) != len(owner)
    else:
        repeated = True
    if repeated:
        _, first = np.unique(place, return_index=True)
        keep[:] = False
        keep[first] = True
    kept = np.bincount(owner[keep], minlength=rows)
    if len(kept) and kept.max() > limits.attributes:
        before = np.cumsum(kept) - kept
        rank = np.cumsum(keep) - 1 - before[owner]
        too_many = keep & (rank >= limits.attributes)
        refusals.cut += int(too_many.sum())
        keep &= ~too_many
    return None if keep.all() else keep


def _map(names: Any, text: Any, which: Ints, owner: Ints, rows: int) -> Any:
    taken = pa.array(which)
    lists = lists_of(taken, owner, rows)
    return pa.MapArray.from_arrays(lists.offsets, names.take(taken), text.take(taken))


def _json(named: list[str], key_of: Ints, text: Any, owner: Ints, rows: int) -> Any:
    """`{"key":value,…}` of each row that has any."""
    if not len(owner):
        return constant("", rows)
    quoted = pa.array([compact(name) + ":" for name in named], pa.string())
    pairs = pc.binary_join_element_wise(quoted.take(pa.array(key_of)), text, "")
    joined = pc.binary_join(lists_of(pairs, owner, rows), ",")
    whole = pc.binary_join_element_wise("{", joined, "}", "")
    return pc.if_else(pc.equal(joined, ""), "", whole)


def _scattered(mine: Bools, owner: Ints, which: Ints, values: Texts, rows: int) -> Any:
    """One attribute as a column: "" where a row doesn't have it, or has it without value."""
    mine = mine & ~values.missing[which]
    if not mine.any():
        return constant("", rows)
    place = np.full(rows, -1, np.int64)
    place[owner[mine]] = which[mine]
    return pc.fill_null(values.text.take(pa.array(place, mask=place < 0)), "")
