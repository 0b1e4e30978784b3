"""All readers of one store, made once and handed to whatever shows what they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from rushes.query.logs import Logs
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.query.traces import Traces
from rushes.query.videos import Videos
from rushes.store.interface import Store

__all__ = ["Readers"]


@dataclass(frozen=True, slots=True)
class Readers:
    """A reader of each kind. Their methods block and may be called from any thread."""

    videos: Videos
    traces: Traces
    logs: Logs
    promql: PromQL
    series: SeriesIndex

    @classmethod
    def over(cls, store: Store) -> Self:
        """The readers of this store, on the machine's own clock."""
        return cls(Videos(store), Traces(store), Logs(store), PromQL(store), SeriesIndex(store))
