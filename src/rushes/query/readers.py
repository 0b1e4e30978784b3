"""All readers of one store, made once and handed to whatever shows what they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from rushes.query.cardinality import Cardinality
from rushes.query.jaeger import Jaeger
from rushes.query.logs import Logs
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.query.trace_exemplars import TraceExemplars
from rushes.query.traces import Traces
from rushes.query.videos import Videos
from rushes.store.interface import Store

__all__ = ["Readers"]


@dataclass(frozen=True, slots=True)
class Readers:
    """A reader of each kind. Their methods block and may be called from any thread.

    `retention_s` is how many seconds the store keeps rows.
    """

    videos: Videos
    traces: Traces
    logs: Logs
    promql: PromQL
    series: SeriesIndex
    jaeger: Jaeger
    cardinality: Cardinality
    exemplars: TraceExemplars
    retention_s: int

    @classmethod
    def over(cls, store: Store) -> Self:
        """The readers of this store, on the machine's own clock."""
        traces = Traces(store)
        return cls(
            videos=Videos(store),
            traces=traces,
            logs=Logs(store),
            promql=PromQL(store),
            series=SeriesIndex(store),
            jaeger=Jaeger(store, traces),
            cardinality=Cardinality(store),
            exemplars=TraceExemplars(store),
            retention_s=store.retention_s,
        )
