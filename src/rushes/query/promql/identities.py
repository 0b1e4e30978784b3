"""Which labels a series' id stands for: they never change, so what was once read is kept."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from rushes.query.promql.model import NAME, Labels

__all__ = ["Identities"]

_KEPT: Final = 300_000  # some 60 MB


class Identities:
    """Labels by series id, for all queries of a process. May be used by several threads."""

    def __init__(self) -> None:
        self._labels: dict[int, Labels] = {}
        self._lock = threading.Lock()

    def labels(self, ids: list[int], fetch: Callable[[list[int]], Any]) -> list[Labels | None]:
        """The labels of each id, `__name__` included; None for one that the store doesn't know either.

        Args:
            ids: which.
            fetch: asks the store for those that aren't known: a table of series_id, metric and of_series.
        """
        known = self._labels
        missing = [each for each in ids if each not in known]
        if missing:
            found = _read(fetch(missing))
            with self._lock:
                if len(self._labels) + len(found) > _KEPT:
                    self._labels = {}
                self._labels |= found
            known = {**{each: known[each] for each in ids if each in known}, **found}
        return [known.get(each) for each in ids]


def _read(table: Any) -> dict[int, Labels]:
    ids, names, rest = (table[column].to_pylist() for column in ("series_id", "metric", "of_series"))
    return {
        identity: {NAME: sys.intern(name)} | {sys.intern(label): sys.intern(value) for label, value in labels}
        for identity, name, labels in zip(ids, names, rest, strict=True)
    }
