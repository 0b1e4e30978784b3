"""How many series there are, and which metrics and labels make them many."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rushes.store.interface import Store

__all__ = ["Cardinality", "Count", "SeriesCounts"]

# A live series is written again at least this often; what is older has ended.
_ALIVE_S: Final = 7200

_LIVE: Final = (
    "SELECT DISTINCT metric, series_id, labels FROM series WHERE last_seen >= toDateTime({since:Int64})"
)


@dataclass(frozen=True, slots=True)
class Count:
    """How often something is there."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class SeriesCounts:
    """Live series by what they have in common, the most numerous first. Times in milliseconds since the epoch."""

    series: int
    label_pairs: int
    min_ms: int
    max_ms: int
    by_metric: list[Count]
    values_by_label: list[Count]
    by_label_pair: list[Count]


class Cardinality:
    """Counts the series of the last two hours. Its method blocks.

    Args:
        store: where the series are.
        clock: seconds since the epoch, now.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def counts(self, limit: int = 10) -> SeriesCounts:
        """At most `limit` entries of each list."""
        params = {"since": max(0, int(self._clock()) - _ALIVE_S), "limit": limit}
        totals = self._store.rows(
            f"SELECT uniqExact(series_id) AS series, uniqExactArray(arrayZip(mapKeys(labels), mapValues(labels))) "
            f"AS pairs FROM ({_LIVE})",
            params,
        )[0]
        times = self._store.rows(
            "SELECT count() AS samples, toUnixTimestamp64Milli(min(ts)) AS first, "
            "toUnixTimestamp64Milli(max(ts)) AS last FROM samples"
        )[0]
        return SeriesCounts(
            series=totals["series"],
            label_pairs=totals["pairs"],
            min_ms=times["first"] if times["samples"] else 0,
            max_ms=times["last"] if times["samples"] else 0,
            by_metric=self._top(
                f"SELECT metric AS name, count() AS value FROM ({_LIVE}) GROUP BY name", params
            ),
            values_by_label=self._top(
                "SELECT pair.1 AS name, uniqExact(pair.2) AS value FROM "
                f"(SELECT arrayJoin(arrayZip(mapKeys(labels), mapValues(labels))) AS pair FROM ({_LIVE})) "
                "GROUP BY name",
                params,
            ),
            by_label_pair=self._top(
                "SELECT concat(pair.1, '=', pair.2) AS name, count() AS value FROM "
                f"(SELECT arrayJoin(arrayZip(mapKeys(labels), mapValues(labels))) AS pair FROM ({_LIVE})) "
                "GROUP BY name",
                params,
            ),
        )

    def _top(self, sql: str, params: dict[str, int]) -> list[Count]:
        rows = self._store.rows(f"{sql} ORDER BY value DESC, name LIMIT {{limit:UInt32}}", params)
        return [Count(row["name"], row["value"]) for row in rows]
