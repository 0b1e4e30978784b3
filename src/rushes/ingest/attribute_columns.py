"""Attributes of many rows at once, as the store's two columns have them: a map of strings, and JSON for the rest.

Attributes repeat from row to row (a model, a tier, a worker): each different one is decoded once, and the rows
refer to it. Only values within values (lists, key-value lists) are walked one by one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from rushes.ingest.attributes import plain
from rushes.ingest.limits import Limits, UndecodableBody
from rushes.ingest.nested import Bools, Ints, as_bools, constant, lists_of, owners, shortened
from rushes.ingest.otlp_wire import OTLP
from rushes.ingest.stats import Refusals
from rushes.ingest.wire import parsed

__all__ = ["Attributes", "Texts", "attributes", "texts"]


class Attributes(NamedTuple):
    """Of each row: its strings as a map, everything else as JSON ("" for none), and the columns asked for."""

    strings: Any
    typed: Any
    own: list[Any]


class Texts(NamedTuple):
    """AnyValues as text: strings as they are, everything else as JSON has it; `missing` are those without value."""

    text: Any
    is_string: Bools
    missing: Bools


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
    columns = []
    for name in own:
        mine = key_of == (named.index(name) if name in named else -1)
        columns.append(_scattered(mine, owner, which, values, rows))
        if mine.any():
            which, key_of, owner, is_string = (of[~mine] for of in (which, key_of, owner, is_string))
    strings = _map(names, values.text, which[is_string], owner[is_string], rows)
    other = ~is_string
    typed = _json(named, key_of[other], values.text.take(pa.array(which[other])), owner[other], rows)
    return Attributes(strings, typed, columns)


def texts(values: Any, limits: Limits, refusals: Refusals) -> Texts:
    """A column of AnyValues as text. Strings longer than the limit are cut."""
    rows = len(values)
    text, cut = shortened(pc.struct_field(values, "text"), limits.value_length)
    refusals.cut += cut
    is_string = as_bools(pc.is_valid(text))
    if is_string.all():
        return Texts(text, is_string, np.zeros(rows, bool))
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
    is_string |= as_bools(pc.fill_null(pc.invert(pc.is_finite(number)), fill_value=False))
    text, is_string = _rare(values, text, is_string, limits, refusals)
    missing = as_bools(pc.is_null(text))
    return Texts(pc.fill_null(text, "null"), is_string, missing)


def _rare(values: Any, text: Any, is_string: Bools, limits: Limits, refusals: Refusals) -> tuple[Any, Bools]:
    """Bytes as base64 text; lists and key-value lists, walked one by one, as JSON."""
    for name, decode in (("bytes", _base64), ("array", _array), ("pairs", _pairs)):
        column = pc.struct_field(values, name)
        if column.null_count == len(column):
            continue
        there = pc.is_valid(column)
        found = pa.array(
            [decode(of, limits, refusals) for of in column.filter(there).to_pylist()], pa.string()
        )
        text = pc.replace_with_mask(text, there, found)
        if name == "bytes":
            is_string = is_string | as_bools(there)
    return text, is_string


def _base64(raw: bytes, limits: Limits, refusals: Refusals) -> str:
    return str(plain(AnyValue(bytes_value=raw), limits, refusals))


def _array(raw: bytes, limits: Limits, refusals: Refusals) -> str:
    return _dumped(AnyValue(array_value=parsed(ArrayValue(), raw)), limits, refusals)


def _pairs(raw: bytes, limits: Limits, refusals: Refusals) -> str:
    return _dumped(AnyValue(kvlist_value=parsed(KeyValueList(), raw)), limits, refusals)


def _dumped(value: AnyValue, limits: Limits, refusals: Refusals) -> str:
    return json.dumps(plain(value, limits, refusals), separators=(",", ":"), ensure_ascii=False)


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
    quoted = pa.array([json.dumps(name, ensure_ascii=False) + ":" for name in named], pa.string())
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
