"""Metrics: OTLP's messages into samples, series, exemplars and metric descriptions.

Names stay exactly as the instrument has them: no unit and no `_total` is ever added. Histograms are kept the
classic way of Prometheus: cumulative `_bucket{le}`, `_sum` and `_count`.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Exemplar,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from rushes.ingest.attributes import split
from rushes.ingest.columns import Clockwork, Columns
from rushes.ingest.labels import KnownSeries, labels, le, series_id
from rushes.ingest.limits import Limits
from rushes.ingest.stats import Reason, Refusals

__all__ = ["MetricBatch", "metric_batch"]

_STALE: Final[float] = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
_NO_VALUE: Final = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_MS: Final = 1_000_000
_BORN_WITHIN_MS: Final = 300_000  # an older beginning is history that the store did not see

_DELTA: Final = Reason("delta", "delta temporality is not supported yet: export cumulative values")
_EXPONENTIAL: Final = Reason(
    "exponential_histogram", "exponential histograms are not supported yet: export explicit buckets"
)
_NAME: Final = Reason("bad_name", "metric has no name, or a very long one")
_RESERVED: Final = Reason("reserved_label", "label names that start with two underscores are reserved")
_TOO_MANY: Final = Reason("too_many_series", "the metric has too many series")


@dataclass(slots=True)
class MetricBatch:
    """What one request brings, and which of it is new to the store (to be told when it is written)."""

    samples: Columns = field(default_factory=lambda: Columns("samples"))
    series: Columns = field(default_factory=lambda: Columns("series"))
    metrics: Columns = field(default_factory=lambda: Columns("metrics"))
    exemplars: Columns = field(default_factory=lambda: Columns("exemplars"))
    new_series: dict[str, set[int]] = field(default_factory=dict)
    descriptions: dict[str, tuple[str, str, str]] = field(default_factory=dict)


def metric_batch(
    request: ExportMetricsServiceRequest,
    clock: Clockwork,
    limits: Limits,
    refusals: Refusals,
    known: KnownSeries,
) -> MetricBatch:
    """The request's acceptable points as rows."""
    build = _Build(clock, limits, refusals, known)
    for of_resource in request.resource_metrics:
        strings, _ = split(of_resource.resource.attributes, limits, refusals)
        target = _target(strings)
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                build.metric(metric, target)
    return build.batch


def _target(resource: dict[str, str]) -> dict[str, str]:
    """The labels job and instance of a resource, as Prometheus makes them."""
    service, namespace = resource.get("service.name", ""), resource.get("service.namespace", "")
    found = {}
    if service:
        found["job"] = f"{namespace}/{service}" if namespace else service
    if resource.get("service.instance.id"):
        found["instance"] = resource["service.instance.id"]
    return found


class _Build:
    def __init__(self, clock: Clockwork, limits: Limits, refusals: Refusals, known: KnownSeries) -> None:
        self.batch = MetricBatch()
        self._clock = clock
        self._now_s = clock.now_ns // 1_000_000_000
        self._limits = limits
        self._refusals = refusals
        self._known = known
        self._new: set[tuple[str, int]] = set()

    def metric(self, metric: Metric, target: dict[str, str]) -> None:
        if not metric.name or len(metric.name) > self._limits.value_length:
            self._refusals.refuse(_NAME, _points(metric))
            return
        match metric.WhichOneof("data"):
            case "gauge":
                self._numbers(metric, metric.gauge.data_points, target, "gauge")
            case "sum" if metric.sum.aggregation_temporality == _CUMULATIVE:
                kind = "counter" if metric.sum.is_monotonic else "gauge"
                self._numbers(metric, metric.sum.data_points, target, kind)
            case "histogram" if metric.histogram.aggregation_temporality == _CUMULATIVE:
                self._describe(metric, "histogram")
                for histogram in metric.histogram.data_points:
                    self._histogram(metric.name, histogram, target)
            case "summary":
                self._describe(metric, "summary")
                for summary in metric.summary.data_points:
                    self._summary(metric.name, summary, target)
            case "exponential_histogram":
                self._refusals.refuse(_EXPONENTIAL, _points(metric))
            case "sum" | "histogram":
                self._refusals.refuse(_DELTA, _points(metric))
            case _:
                pass  # a metric without data brings no points

    def _describe(self, metric: Metric, kind: str) -> None:
        longest = self._limits.value_length
        self.batch.descriptions[metric.name] = (kind, metric.description[:longest], metric.unit[:longest])

    def _numbers(
        self, metric: Metric, points: Iterable[NumberDataPoint], target: dict[str, str], kind: str
    ) -> None:
        self._describe(metric, kind)
        for point in points:
            of = self._labels(point, target)
            if of is None:
                continue
            identity = self._series(metric.name, of)
            if identity is None:
                continue
            ts = point.time_unix_nano // _MS
            value = point.as_double if point.HasField("as_double") else float(point.as_int)
            if kind == "counter":
                self._born(metric.name, identity, point)
            self._sample(metric.name, identity, ts, _STALE if point.flags & _NO_VALUE else value)
            for exemplar in point.exemplars:
                self._exemplar(metric.name, identity, exemplar)

    def _histogram(self, name: str, point: HistogramDataPoint, target: dict[str, str]) -> None:
        bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
        if (counts or bounds) and len(counts) != len(bounds) + 1:
            self._refusals.refuse(_malformed("doesn't have one bucket more than bounds"))
            return
        if not _rising(bounds):
            self._refusals.refuse(_malformed("has bounds that don't rise"))
            return
        of = self._labels(point, target, room=1)
        if of is None:
            return
        of.pop("le", None)
        uppers = [*bounds, float("inf")]
        below = list(accumulate(counts)) if counts else [point.count]
        if below[-1] != point.count:
            self._refusals.refuse(_malformed("has buckets that don't add up to its count"))
            return
        rows = [
            (f"{name}_bucket", of | {"le": le(upper)}, float(n))
            for upper, n in zip(uppers, below, strict=True)
        ]
        rows.append((f"{name}_count", of, float(point.count)))
        if point.HasField("sum"):
            rows.append((f"{name}_sum", of, point.sum))
        identities = self._all(rows, point)
        if identities is None:
            return
        for (metric, _, _), identity in zip(rows, identities, strict=True):
            self._born(metric, identity, point)
        for exemplar in point.exemplars:
            value = exemplar.as_double if exemplar.HasField("as_double") else float(exemplar.as_int)
            place = bisect_left(uppers, value) if not math.isnan(value) else len(uppers) - 1
            self._exemplar(f"{name}_bucket", identities[place], exemplar)

    def _summary(self, name: str, point: SummaryDataPoint, target: dict[str, str]) -> None:
        of = self._labels(point, target, room=1)
        if of is None:
            return
        of.pop("quantile", None)
        rows = [(name, of | {"quantile": le(each.quantile)}, each.value) for each in point.quantile_values]
        rows += [(f"{name}_count", of, float(point.count)), (f"{name}_sum", of, point.sum)]
        self._all(rows, point)

    def _all(
        self, rows: list[tuple[str, dict[str, str], float]], point: HistogramDataPoint | SummaryDataPoint
    ) -> list[int] | None:
        """Add the series of one point together: half a histogram would be a wrong one."""
        identities = []
        for metric, of, _ in rows:
            identity = self._series(metric, of)
            if identity is None:
                return None
            identities.append(identity)
        stale = bool(point.flags & _NO_VALUE)
        ts = point.time_unix_nano // _MS
        for (metric, _, value), identity in zip(rows, identities, strict=True):
            self._sample(metric, identity, ts, _STALE if stale else value)
        return identities

    def _labels(
        self,
        point: NumberDataPoint | HistogramDataPoint | SummaryDataPoint,
        target: dict[str, str],
        *,
        room: int = 0,
    ) -> dict[str, str] | None:
        """The point's labels, or None, counted, when its time or its labels aren't acceptable."""
        complaint = self._clock.complaint(point.time_unix_nano)
        if complaint is None and len(point.attributes) + len(target) + room > self._limits.labels:
            complaint = Reason("too_many_labels", f"more than {self._limits.labels} labels")
        if complaint is None:
            of = labels(*split(point.attributes, self._limits, self._refusals)) | target
            if not any(name.startswith("__") for name in of):
                return of
            complaint = _RESERVED
        self._refusals.refuse(complaint)
        return None

    def _series(self, metric: str, of: dict[str, str]) -> int | None:
        identity = series_id(metric, of)
        coming = self.batch.new_series.get(metric, set())
        if identity in coming or not self._known.due(metric, identity, self._now_s):
            return identity
        if not self._known.admits(metric, identity, self._now_s, coming=len(coming)):
            self._refusals.refuse(_TOO_MANY)
            return None
        if not self._known.holds(metric, identity):
            self._new.add((metric, identity))
        self.batch.new_series.setdefault(metric, set()).add(identity)
        self.batch.series.append((metric, identity, of, self._now_s))
        return identity

    def _born(self, metric: str, identity: int, point: NumberDataPoint | HistogramDataPoint) -> None:
        """A cumulative series that is new was 0 when it began to count, which the point says.

        Without that sample rate() and increase() miss what a series was born with: a first video, a first error.
        Prometheus does the same under the feature flag created-timestamp-zero-ingestion.
        """
        start, ts = point.start_time_unix_nano // _MS, point.time_unix_nano // _MS
        if (metric, identity) in self._new and 0 < ts - start <= _BORN_WITHIN_MS:
            self._sample(metric, identity, start, 0.0)

    def _sample(self, metric: str, identity: int, ts_ms: int, value: float) -> None:
        self.batch.samples.append((metric, identity, ts_ms, value))

    def _exemplar(self, metric: str, identity: int, exemplar: Exemplar) -> None:
        if self._clock.complaint(exemplar.time_unix_nano) is not None:
            return
        strings, typed = split(exemplar.filtered_attributes, self._limits, self._refusals)
        value = exemplar.as_double if exemplar.HasField("as_double") else float(exemplar.as_int)
        self.batch.exemplars.append(
            (
                metric,
                identity,
                exemplar.time_unix_nano // _MS,
                value,
                exemplar.trace_id.hex(),
                exemplar.span_id.hex(),
                labels(strings, typed),
            )
        )


_CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


def _malformed(how: str) -> Reason:
    return Reason("malformed_histogram", f"histogram {how}")


def _rising(bounds: list[float]) -> bool:
    return all(low < high for low, high in pairwise(bounds)) and not any(map(math.isnan, bounds))


def _points(metric: Metric) -> int:
    kind = metric.WhichOneof("data")
    data: Any = getattr(metric, kind) if kind else None
    return len(data.data_points) if data is not None else 0
