"""Memory that nothing needs any more, given back to the system: code that only the start ran, and freed blocks.

The library is half a gigabyte, and its initialisers read themselves through all of it: 80 MB of code stay resident
that no query runs. The pages are clean copies of the file, so what is needed after all is read again by the kernel.
Three allocators (the C library's, Arrow's, the engine's) keep what was freed for the next request: 200 MB after a
burst of telemetry, for as long as nobody asks them.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from typing import Final

import pyarrow as pa

__all__ = ["forget_startup_pages", "release_freed"]

_MADV_DONTNEED: Final = 4
_LIBRARY: Final = "_chdb.abi3.so"
_MAPPING = re.compile(r"(?P<begin>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<rights>\S{4}) .*/(?P<file>[^/]+)")


def forget_startup_pages() -> int:
    """Give back the resident pages of the engine's code.

    Only mappings that can't be written: relocated data lives in the others.

    Returns:
        Bytes of the mappings that were given back; 0 where this isn't Linux.
    """
    if not sys.platform.startswith("linux"):
        return 0
    libc, given_back = ctypes.CDLL(None), 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        found = _MAPPING.fullmatch(line)
        if found is None or found["file"] != _LIBRARY or found["rights"] != "r-xp":
            continue
        begin, end = int(found["begin"], 16), int(found["end"], 16)
        if libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED) == 0:
            given_back += end - begin
    return given_back


def release_freed() -> None:
    """Give back what was freed: by the C library's allocator, where that can be asked, and by Arrow's."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others don't
    if trim is not None:
        trim(ctypes.c_size_t(0))
