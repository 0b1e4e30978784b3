"""What Prometheus' API tells of the server itself: only what is true of this one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from rushes.query import Readers
from rushes.query.cardinality import Count
from rushes.web.api.answers import MAX_CONCURRENT
from rushes.web.api.form import Form, bad_parameter

__all__ = ["LONGEST_S", "Status"]

LONGEST_S: Final = 120.0
"""Seconds after which a query is given up. Prometheus' own default."""

# Clients ask the version to learn what they may ask: what is answered here is what this one answers.
_LIKE: Final = "3.0.0"
_MAX_TOP: Final = 10_000
_DAY_S: Final = 86_400


class Status:
    """The endpoints under /api/v1/status, and their kin."""

    def __init__(self, readers: Readers, version: str) -> None:
        self._readers = readers
        self._version = version
        self._started = datetime.now(UTC)

    def buildinfo(self, _: Form) -> Any:
        return {
            "version": _LIKE,
            "revision": f"rushes-{self._version}",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }

    def config(self, _: Form) -> Any:
        """There is no file of Prometheus' kind."""
        return {"yaml": ""}

    def flags(self, _: Form) -> Any:
        """Those of Prometheus' flags that mean something here, with the values that hold."""
        return {
            "query.lookback-delta": "5m",
            "query.max-concurrency": str(MAX_CONCURRENT),
            "query.timeout": "2m",
            "storage.tsdb.retention.time": self._retention,
        }

    def runtimeinfo(self, _: Form) -> Any:
        return {
            "startTime": self._started.isoformat().replace("+00:00", "Z"),
            "serverTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "reloadConfigSuccess": True,
            "lastConfigTime": self._started.isoformat().replace("+00:00", "Z"),
            "storageRetention": self._retention,
        }

    def tsdb(self, given: Form) -> Any:
        text = given.text("limit")
        limit = 10
        if text:
            wanted = given.count("limit")
            if not wanted:
                raise bad_parameter("limit", "limit must be a positive number")
            limit = min(wanted, _MAX_TOP)
        found = self._readers.cardinality.counts(limit)
        return {
            "headStats": {
                "numSeries": found.series,
                "numLabelPairs": found.label_pairs,
                "minTime": found.min_ms,
                "maxTime": found.max_ms,
            },
            "seriesCountByMetricName": _listed(found.by_metric),
            "labelValueCountByLabelName": _listed(found.values_by_label),
            "memoryInBytesByLabelName": [],  # the store does not tell
            "seriesCountByLabelValuePair": _listed(found.by_label_pair),
        }

    def alertmanagers(self, _: Form) -> Any:
        """None is told of alerts."""
        return {"activeAlertmanagers": [], "droppedAlertmanagers": []}

    @property
    def _retention(self) -> str:
        days, rest = divmod(self._readers.retention_s, _DAY_S)
        return f"{self._readers.retention_s}s" if rest else f"{days}d"


def _listed(counts: list[Count]) -> list[dict[str, Any]]:
    return [{"name": each.name, "value": each.value} for each in counts]
