"""Keeps the control room's process small: what libraries import without need, and what allocators keep of the freed.

Under a burst of telemetry the C library makes an arena for each of some fifty threads, and Arrow's allocator a heap;
both keep what was freed in them: 200 MB that no later request of another thread can use.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

__all__ = ["allocate_sparingly", "without"]

_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2


class _Absent:
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is of no use in this process", name=fullname)


def without(*names: str) -> None:
    """Let these modules be absent from this process, if nothing has imported them yet."""
    sys.meta_path.insert(0, _Absent(frozenset(names)))


def allocate_sparingly() -> None:
    """Let all threads share few arenas, and Arrow too. Before Arrow is imported; what the environment says holds."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    tune = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, others don't
    if tune is not None and "MALLOC_ARENA_MAX" not in os.environ:
        tune(_M_ARENA_MAX, _ARENAS)
