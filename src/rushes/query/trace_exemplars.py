"""Measurements that were taken while a trace ran and name it: the way from a trace to the metrics it is part of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rushes.store.interface import Param, Store

__all__ = ["Measured", "TraceExemplars"]

_MAX: Final = 1000
# An exporter sends a measurement when it collects, not when it was taken.
_LATE_S: Final = 3600

_SQL: Final = f"""
WITH found AS (
  SELECT metric, series_id, toUnixTimestamp64Milli(ts) AS ts_ms, value, span_id FROM exemplars
  WHERE trace_id = {{trace_id:String}}
    AND ts >= fromUnixTimestamp64Milli({{start:Int64}}) - toIntervalSecond({_LATE_S})
    AND ts <= fromUnixTimestamp64Milli({{end:Int64}}) + toIntervalSecond({_LATE_S})
  LIMIT 1 BY series_id, ts, span_id LIMIT {_MAX}
)
SELECT metric, of_series, ts_ms, value, span_id FROM found INNER JOIN (
  SELECT metric, series_id, any(labels) AS of_series FROM series
  WHERE metric IN (SELECT metric FROM found) AND series_id IN (SELECT series_id FROM found)
  GROUP BY metric, series_id
) AS known USING (metric, series_id)
ORDER BY metric, ts_ms, span_id"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement: of which series, when (milliseconds since the epoch), and in which span."""

    metric: str
    labels: dict[str, str]
    value: float
    ts_ms: int
    span_id: str


class TraceExemplars:
    """Reads exemplars by trace. Its method blocks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, trace_id: str, start_ns: int, end_ns: int) -> list[Measured]:
        """The exemplars that name this trace, which ran in this time."""
        params: dict[str, Param] = {
            "trace_id": trace_id,
            "start": start_ns // 1_000_000,
            "end": end_ns // 1_000_000,
        }
        return [
            Measured(row["metric"], row["of_series"], row["value"], row["ts_ms"], row["span_id"])
            for row in self._store.rows(_SQL, params)
        ]
