"""Steps through Arrow's nested columns: from a list's column to its items and to the rows they belong to."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "Bools",
    "Ints",
    "as_bools",
    "constant",
    "hexes",
    "joined",
    "lists_of",
    "member",
    "members",
    "offsets_of",
    "owners",
    "shortened",
    "starts",
]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_HEX: Final = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], dtype=np.uint8)


def owners(lists: Any) -> Ints:
    """For each item of a column of lists, the row of its list."""
    counts = np.diff(np.asarray(lists.offsets))
    found: Ints = np.repeat(np.arange(len(lists), dtype=np.int64), counts)
    return found


def starts(lists: Any) -> Ints:
    """Where each list begins among the items, and where the last one ends."""
    offsets = np.asarray(lists.offsets).astype(np.int64)
    found: Ints = offsets - offsets[0]
    return found


def offsets_of(counts: npt.NDArray[Any]) -> Any:
    """A list column's offsets from the lengths of its lists."""
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    return pa.array(offsets)


def joined(lists: Any, items: Any, separator: bytes) -> list[bytes]:
    """The items of each list as one, with a separator between them. `items` are those of `lists`, as bytes."""
    of = pa.ListArray.from_arrays(pa.array(starts(lists).astype(np.int32)), items)
    found: list[bytes] = pc.binary_join(of, separator).to_pylist()
    return found


def lists_of(items: Any, owner: Ints, rows: int) -> Any:
    """The items, sorted by their owner, as a column of lists."""
    return pa.ListArray.from_arrays(offsets_of(np.bincount(owner, minlength=rows)), items)


def as_bools(column: Any) -> Bools:
    """A column of booleans without nulls as numpy has it."""
    found: Bools = column.to_numpy(zero_copy_only=False)
    return found


def constant(text: str, rows: int) -> Any:
    """A column of one text."""
    return pa.repeat(pa.scalar(text, pa.string()), rows)


def hexes(ids: Any) -> Any:
    """A column of bytes as hex, which is twice as long: bytes and offsets alike."""
    offsets = np.frombuffer(ids.buffers()[1], np.int32, len(ids) + 1, ids.offset * 4)
    raw = ids.buffers()[2]
    data = (
        np.frombuffer(raw, np.uint8)[offsets[0] : offsets[-1]] if raw is not None else np.zeros(0, np.uint8)
    )
    moved = (offsets - offsets[0]) * 2
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(moved), pa.py_buffer(_HEX[data].tobytes()))


def shortened(texts: Any, longest: int) -> tuple[Any, int]:
    """Texts of at most `longest` characters, and how many had to be cut."""
    if not len(texts) or (pc.max(pc.binary_length(texts)).as_py() or 0) <= longest:
        return texts, 0
    cut = pc.sum(pc.greater(pc.utf8_length(texts), longest)).as_py() or 0
    return pc.utf8_slice_codeunits(texts, 0, longest), cut


def members(*fragments: Any) -> Any:
    """Members of a JSON object, as columns of text ("" for none), as one object of each row ("" for an empty one)."""
    said = [of for of in fragments if not _is_empty(of)]
    if not said:
        return fragments[0]
    led = [pc.if_else(pc.equal(of, ""), "", pc.binary_join_element_wise(",", of, "")) for of in said]
    joined_ = pc.binary_join_element_wise(*led, "")
    whole = pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(joined_, 1), "}", "")
    return pc.if_else(pc.equal(joined_, ""), "", whole)


def member(name: str, values: Any) -> Any:
    """A member of a JSON object of each row that has a value: columns of JSON ("" for none) in and out."""
    if _is_empty(values):  # the usual case
        return values
    return pc.if_else(pc.equal(values, ""), "", pc.binary_join_element_wise(f'"{name}":', values, ""))


def _is_empty(texts: Any) -> bool:
    return not pc.sum(pc.binary_length(texts)).as_py()
