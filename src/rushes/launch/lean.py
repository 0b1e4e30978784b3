"""Keeps out of the control room's process what a library imports only because it happens to be installed."""

from __future__ import annotations

import sys

__all__ = ["without"]


class _Absent:
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is of no use in this process", name=fullname)


def without(*names: str) -> None:
    """Let these modules be absent from this process, if nothing has imported them yet."""
    sys.meta_path.insert(0, _Absent(frozenset(names)))
