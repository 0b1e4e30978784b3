"""Whether an MP4 arrived whole, by its boxes: a download cut short may still look like a finished one."""

from __future__ import annotations

from typing import Final

__all__ = ["is_whole"]

_HEADER, _LARGE_HEADER = 8, 16
_NEEDED: Final = frozenset({b"ftyp", b"moov"})


def is_whole(data: bytes) -> bool:
    """Whether top-level boxes fill `data` exactly, with a file type and an index among them."""
    at, seen = 0, set()
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + _HEADER]
        header = _HEADER
        if size == 1:  # the size follows in 64 bits
            size, header = int.from_bytes(data[at + _HEADER : at + _LARGE_HEADER], "big"), _LARGE_HEADER
        elif size == 0:  # to the end of the file
            size = len(data) - at
        if size < header or at + size > len(data):
            return False
        seen.add(kind)
        at += size
    return seen >= _NEEDED
