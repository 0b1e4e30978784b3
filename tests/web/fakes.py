"""The query layer's facades over recorded rows, for pages without a store."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rushes.query.log_filter import LogFilter
from rushes.query.logs import Logs
from rushes.query.promql import PromQL, QueryResult, Series
from rushes.query.span_filter import SpanFilter
from rushes.query.traces import SpanRow, Traces, TraceSummary
from rushes.query.videos import VideoRow, Videos
from rushes.web import facades

__all__ = ["FakeLogs", "FakePromQL", "FakeTraces", "FakeVideos", "Room", "real_facades_fit"]


class FakeVideos:
    def __init__(self) -> None:
        self.rows: dict[str, VideoRow] = {}

    def put(self, row: VideoRow) -> None:
        self.rows = {**self.rows, row.request_id: row}

    def change(self, request_id: str, **changes: Any) -> None:
        self.put(replace(self.rows[request_id], **changes))

    def list(
        self,
        limit: int = 50,
        before_ns: int | None = None,
        model: str | None = None,
        status: str | None = None,
    ) -> Sequence[VideoRow]:
        fitting = [
            row
            for row in self.rows.values()
            if (before_ns is None or row.accepted_ns < before_ns)
            and model in (None, row.model)
            and status in (None, row.status)
        ]
        return sorted(fitting, key=lambda row: -row.accepted_ns)[:limit]

    def get(self, request_id: str) -> VideoRow | None:
        return self.rows.get(request_id)


class FakeTraces:
    def __init__(self) -> None:
        self.rows: dict[str, list[SpanRow]] = {}
        self.asked: list[tuple[SpanFilter, str]] = []

    def put(self, spans: Sequence[SpanRow]) -> None:
        for span in spans:
            self.rows[span.trace_id] = [*self.rows.get(span.trace_id, []), span]

    def get(self, trace_id: str) -> list[SpanRow]:
        return self.rows.get(trace_id, [])

    def find(self, asked: SpanFilter, *, order: str = "newest", limit: int = 50) -> list[TraceSummary]:
        self.asked.append((asked, order))
        found = [_summary(spans) for spans in self.rows.values()]
        return [row for row in found if asked.status in (None, row.status)][:limit]


def _summary(spans: Sequence[SpanRow]) -> TraceSummary:
    root = next((s for s in spans if not s.parent_span_id), spans[0])
    return TraceSummary(
        trace_id=root.trace_id,
        root_name=root.name,
        service=root.service,
        start_ns=root.start_ns,
        duration_ns=root.duration_ns,
        span_count=len(spans),
        status="error" if any(s.status == "error" for s in spans) else root.status,
        request_id=str(root.attributes.get("request_id", "")),
        model=str(root.attributes.get("model", "")),
        tier=str(root.attributes.get("tier", "")),
    )


class FakeLogs:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def search(
        self, trace_id: str | None = None, *, level: str | None = None, limit: int = 200
    ) -> list[dict[str, Any]]:
        fitting = [
            row for row in self.rows if trace_id in (None, row["trace_id"]) and level in (None, row["level"])
        ]
        return fitting[-limit:]

    def find(self, asked: LogFilter, *, limit: int = 200) -> list[dict[str, Any]]:
        return self.search(asked.trace_id, level=asked.level, limit=limit)


Course = Callable[[float], float | None]


class FakePromQL:
    """Answers an expression with the series recorded for the first pattern that fits it."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, dict[str, str], Course]] = []
        self.asked: list[str] = []
        self.broken: str = ""
        self.readings: list[Series] = []

    def record(self, pattern: str, labels: dict[str, str], course: Course | float) -> None:
        value = course
        self.recorded.append((pattern, labels, value if callable(value) else lambda _t: float(value)))

    def instant(self, expr: str, time_s: float) -> QueryResult:
        if expr.endswith("ms]"):  # what is stored, as it is stored
            return self._stored(expr, time_s)
        return self.range(expr, time_s, time_s, 1)

    def range(self, expr: str, start_s: float, end_s: float, step_s: float) -> QueryResult:
        self.asked.append(expr)
        if self.broken and self.broken in expr:
            raise RuntimeError("recorded failure")
        fitting = [entry for entry in self.recorded if re.search(entry[0], expr)]
        first = fitting[0][0] if fitting else ""
        times = [start_s + at * step_s for at in range(math.floor((end_s - start_s) / step_s) + 1)]
        series = []
        for pattern, labels, course in fitting:
            points = [(t, v) for t in times if pattern == first and (v := course(t)) is not None]
            if points:
                series.append(Series(labels, [t for t, _ in points], [v for _, v in points]))
        return QueryResult("matrix", series)

    def _stored(self, expr: str, end_s: float) -> QueryResult:
        self.asked.append(expr)
        asked = re.fullmatch(r'{__name__=~"(.*?)",worker_id=(".*")}\[(\d+)ms\]', expr)
        assert asked, expr
        names, worker, start_s = asked[1].split("|"), json.loads(asked[2]), end_s - int(asked[3]) / 1000
        found = []
        for series in self.readings:
            pairs = zip(series.timestamps, series.values, strict=True)
            inside = [(t, v) for t, v in pairs if start_s < t <= end_s]
            if inside and series.labels["__name__"] in names and series.labels["worker_id"] == worker:
                found.append(Series(series.labels, [t for t, _ in inside], [v for _, v in inside]))
        return QueryResult("matrix", found)


@dataclass
class Room:
    now_ns: int
    videos: FakeVideos = field(default_factory=FakeVideos)
    traces: FakeTraces = field(default_factory=FakeTraces)
    logs: FakeLogs = field(default_factory=FakeLogs)
    promql: FakePromQL = field(default_factory=FakePromQL)
    healthy: bool = True
    problems: list[str] = field(default_factory=list)


def real_facades_fit(
    videos: Videos, traces: Traces, logs: Logs, promql: PromQL
) -> tuple[facades.Videos, facades.Traces, facades.Logs, facades.PromQL]:
    """For mypy alone: the query layer's own classes are what the pages ask for."""
    return videos, traces, logs, promql
