"""Labels of a series out of a point's attributes, and which series are already known to the store."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import numpy as np

from rushes.ingest.attributes import as_text
from rushes.store.interface import Store

__all__ = ["KnownSeries", "label_name", "labels", "le", "series_id"]

_LEGAL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_]")
_SWEEP_S: Final = 60


def label_name(attribute: str) -> str:
    """An attribute's key as a label that PromQL can name: as it is if legal, else with underscores."""
    if _LEGAL.match(attribute):
        return attribute
    name = _ILLEGAL.sub("_", attribute)
    return f"key_{name}" if name[:1].isdigit() else name


def labels(strings: dict[str, str], typed: dict[str, Any]) -> dict[str, str]:
    """A point's attributes as labels; values of keys that become one label are joined by ";"."""
    found: dict[str, str] = {}
    for key, value in (*strings.items(), *((key, as_text(value)) for key, value in typed.items())):
        if value == "":
            continue  # an empty label is no label
        name = label_name(key)
        found[name] = f"{found[name]};{value}" if name in found else value
    return found


def le(bound: float) -> str:
    """A bucket's upper bound as Prometheus writes it: shortest digits, no exponent, integers without .0."""
    if bound == float("inf"):
        return "+Inf"
    if bound == float("-inf"):
        return "-Inf"
    return np.format_float_positional(bound, trim="-")


def series_id(metric: str, of: dict[str, str]) -> int:
    """The series' 64-bit identity: a hash of its name and sorted labels."""
    digest = hashlib.blake2b(metric.encode(), digest_size=8)
    for name in sorted(of):
        digest.update(b"\xff" + name.encode() + b"\xff" + of[name].encode())
    return int.from_bytes(digest.digest(), "big")


class KnownSeries:
    """Series the store has, so that each is written once an hour instead of with every sample.

    Not safe for threads: its owner holds a lock while it uses it.
    """

    def __init__(self, *, per_metric: int, active_s: int) -> None:
        self._per_metric = per_metric
        self._active_s = active_s
        self._seen: dict[str, dict[int, int]] = {}
        self._swept: dict[str, int] = {}

    def load(self, store: Store, now_s: int) -> None:
        """Take over what the store has seen lately, so that a restart doesn't lift the limit."""
        rows = store.query(
            "SELECT metric, series_id, max(toUnixTimestamp(last_seen)) AS seen FROM series "
            "WHERE last_seen >= toDateTime({since:Int64}) GROUP BY metric, series_id",
            {"since": now_s - self._active_s},
        ).to_pydict()
        for metric, identity, seen in zip(rows["metric"], rows["series_id"], rows["seen"], strict=True):
            self._seen.setdefault(metric, {})[identity] = seen

    def admits(self, metric: str, identity: int, now_s: int, *, coming: int) -> bool:
        """Whether the metric may have this series beside `coming` new ones: it is known, or there is room.

        A metric that is full is searched for idle series at most once a minute: a flood of new series costs
        no more than their refusal.
        """
        of_metric = self._seen.get(metric, {})
        if identity in of_metric or len(of_metric) + coming < self._per_metric:
            return True
        if 0 <= now_s - self._swept.get(metric, -_SWEEP_S) < _SWEEP_S:
            return False
        self._swept[metric] = now_s
        idle = [known for known, seen in of_metric.items() if seen < now_s - self._active_s]
        for known in idle:
            del of_metric[known]
        return len(of_metric) + coming < self._per_metric

    def holds(self, metric: str, identity: int) -> bool:
        """Whether the store has had the series lately."""
        return identity in self._seen.get(metric, {})

    def due(self, metric: str, identity: int, now_s: int) -> bool:
        """Whether the series has to be written (again)."""
        return self._seen.get(metric, {}).get(identity, 0) < now_s - self._active_s // 2

    def wrote(self, metric: str, identity: int, now_s: int) -> None:
        self._seen.setdefault(metric, {})[identity] = now_s
