"""The kinds of points that are rare enough to be walked one by one: deltas, exponential histograms, summaries."""

from __future__ import annotations

import math
from typing import Any, Final

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from rushes.ingest.attributes import split
from rushes.ingest.batch import Batch
from rushes.ingest.classic import admitted, defect, put
from rushes.ingest.columns import Clockwork
from rushes.ingest.deltas import OUT_OF_ORDER
from rushes.ingest.exponential import native
from rushes.ingest.histograms import STALE, Bucketed, Native
from rushes.ingest.labels import labels, le
from rushes.ingest.points import NO_VALUE_FLAG, NS_PER_MS, Named, labels_of, malformed, too_many_buckets
from rushes.ingest.wire import parsed

__all__ = ["Walk"]

_ENDED: Final = Native(
    0.0, STALE, 0, gauge=False, zero_threshold=0.0, zero_count=0.0, positive={}, negative={}
)


class Walk:
    """Adds points to a batch, one by one."""

    def __init__(self, batch: Batch, clock: Clockwork) -> None:
        self._batch = batch
        self._clock = clock

    def delta_sum(self, raw: bytes, metric: Named) -> None:
        """A point of a sum that says what was added."""
        point = parsed(NumberDataPoint(), raw)
        found = self._series(point, metric.name, metric)
        if found is None:
            return
        number, new, _ = found
        ts = point.time_unix_nano // NS_PER_MS
        if point.flags & NO_VALUE_FLAG:
            self._batch.sample(number, ts, STALE)
            return
        value = point.as_double if point.HasField("as_double") else float(point.as_int)
        total = self._added(metric, number, point, value)
        if total is not None:
            if new and metric.kind == "counter":
                self._batch.born(number, point.start_time_unix_nano // NS_PER_MS, ts)
            self._batch.sample(number, ts, total)
            self._exemplars(point, lambda _: number)

    def delta_histogram(self, raw: bytes, metric: Named) -> None:
        """A histogram with bounds that says what was added."""
        point = parsed(HistogramDataPoint(), raw)
        if self._too_many(point.bucket_counts, point.explicit_bounds):
            return
        count = point.count
        of = Bucketed(
            list(point.explicit_bounds),
            list(point.bucket_counts) or [count],
            count,
            point.sum if point.HasField("sum") else None,
        )
        wrong = defect(of)
        if wrong is not None:
            self._batch.refusals.refuse(malformed(wrong))
            return
        found = self._labels(point, metric, room=1)
        if found is None:
            return
        ts = point.time_unix_nano // NS_PER_MS
        span = (point.start_time_unix_nano // NS_PER_MS, ts)
        known = admitted(self._batch, metric.name, found, of.bounds, with_sum=of.sum is not None, span=span)
        if known is None:
            return
        if point.flags & NO_VALUE_FLAG:
            for number in (*known.buckets.tolist(), known.count):
                self._batch.sample(number, ts, STALE)
            return
        total = self._added(metric, known.count, point, of)
        if total is not None:
            put(self._batch, known, ts, total)
            self._exemplars(point, known.bucket)

    def exponential(self, raw: bytes, metric: Named, *, delta: bool) -> None:
        """An exponential histogram, which becomes a native one."""
        point = parsed(ExponentialHistogramDataPoint(), raw)
        if self._too_many(point.positive.bucket_counts, point.negative.bucket_counts):
            return
        ended = bool(point.flags & NO_VALUE_FLAG)
        of = _ENDED if ended else native(point)
        if isinstance(of, str):
            self._batch.refusals.refuse(malformed(of))
            return
        found = self._series(point, metric.name, metric)
        if found is None:
            return
        number, _, _ = found
        if delta and not ended:
            total = self._added(metric, number, point, of)
            if total is None:
                return
            of = total
        self._batch.histogram(number, point.time_unix_nano // NS_PER_MS, of)
        self._exemplars(point, lambda _: number)

    def summary(self, raw: bytes, metric: Named) -> None:
        """A summary: its quantiles, count and sum, all or none of them."""
        point = parsed(SummaryDataPoint(), raw)
        if self._too_many(point.quantile_values):
            return
        of = self._labels(point, metric, room=1)
        if of is None:
            return
        of.pop("quantile", None)
        rows = [(metric.name, of | {"quantile": le(q.quantile)}, q.value) for q in point.quantile_values]
        rows += [(f"{metric.name}_count", of, float(point.count)), (f"{metric.name}_sum", of, point.sum)]
        numbers = []
        for name, each, _ in rows:
            found = self._batch.admit(name, each)
            if found is None:
                return
            numbers.append(found[0])
        ts = point.time_unix_nano // NS_PER_MS
        for number, (_, _, value) in zip(numbers, rows, strict=True):
            self._batch.sample(number, ts, STALE if point.flags & NO_VALUE_FLAG else value)

    def _too_many(self, *of: Any) -> bool:
        limits = self._batch.limits
        if max(map(len, of)) <= limits.buckets:
            return False
        self._batch.refusals.refuse(too_many_buckets(limits))
        return True

    def _labels(self, point: Any, metric: Named, *, room: int = 0) -> dict[str, str] | None:
        complaint = self._clock.complaint(point.time_unix_nano)
        if complaint is not None:
            self._batch.refusals.refuse(complaint)
            return None
        return labels_of(point.attributes, metric.target, self._batch, room)

    def _series(self, point: Any, name: str, metric: Named) -> tuple[int, bool, dict[str, str]] | None:
        of = self._labels(point, metric)
        found = None if of is None else self._batch.admit(name, of)
        return None if found is None or of is None else (*found, of)

    def _added(self, metric: Named, number: int, point: Any, value: Any) -> Any:
        key = f"{metric.name}\xff{self._batch.series.id(number)}".encode()
        total = self._batch.sums.add(key, point.time_unix_nano, value)
        if total is None:
            self._batch.refusals.refuse(OUT_OF_ORDER)
        return total

    def _exemplars(self, point: Any, place: Any) -> None:
        for exemplar in point.exemplars[: self._batch.room_for_exemplars(len(point.exemplars))]:
            if self._clock.complaint(exemplar.time_unix_nano) is not None:
                continue
            value = exemplar.as_double if exemplar.HasField("as_double") else float(exemplar.as_int)
            if math.isnan(value):
                continue
            strings, typed = split(exemplar.filtered_attributes, self._batch.limits, self._batch.refusals)
            self._batch.exemplar(
                place(value),
                exemplar.time_unix_nano // NS_PER_MS,
                value,
                (exemplar.trace_id.hex(), exemplar.span_id.hex()),
                labels(strings, typed),
            )
