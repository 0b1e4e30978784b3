"""The kinds of points that are rare enough to be walked one by one: deltas, exponential histograms, summaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from rushes.ingest.batch import Batch
from rushes.ingest.classic import Known, admitted, defect, put
from rushes.ingest.columns import Clockwork
from rushes.ingest.deltas import OUT_OF_ORDER
from rushes.ingest.exponential import from_otlp
from rushes.ingest.histograms import STALE, Bucketed, Native, malformed, too_many_buckets
from rushes.ingest.labels import le, series_id
from rushes.ingest.points import (
    NO_VALUE_FLAG,
    NS_PER_MS,
    Named,
    keep_exemplar,
    labels_of,
)
from rushes.ingest.stats import Reason
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
        found = self._series(point, metric)
        if found is None:
            return
        number, new, labels = found
        ts = point.time_unix_nano // NS_PER_MS
        if point.flags & NO_VALUE_FLAG:
            self._batch.sample(number, ts, STALE)
            return
        value = point.as_double if point.HasField("as_double") else float(point.as_int)
        total = self._added(_key(metric, labels), point, value)
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
        labels = self._labels(point, metric, room=1)
        if labels is None:
            return
        key, ts = _key(metric, labels), point.time_unix_nano // NS_PER_MS
        if point.flags & NO_VALUE_FLAG:
            # It names no buckets: those that the series has had are meant.
            last = self._batch.sums.last(key)
            if (
                isinstance(last, Bucketed)
                and (known := self._admitted(metric, labels, last, (0, 0))) is not None
            ):
                for number in known.all:
                    self._batch.sample(number, ts, STALE)
            return
        known = self._admitted(metric, labels, of, (point.start_time_unix_nano // NS_PER_MS, ts))
        if known is None:
            return
        total = self._added(key, point, of)
        if total is not None:
            put(self._batch, known, ts, total)
            self._exemplars(point, known.bucket)

    def _admitted(
        self, metric: Named, labels: dict[str, str], of: Bucketed, span: tuple[int, int]
    ) -> Known | None:
        with_sum = of.sum is not None
        return admitted(self._batch, metric.name, dict(labels), of.bounds, with_sum=with_sum, span=span)

    def exponential(self, raw: bytes, metric: Named, *, delta: bool) -> None:
        """An exponential histogram, which becomes a native one."""
        point = parsed(ExponentialHistogramDataPoint(), raw)
        if self._too_many(point.positive.bucket_counts, point.negative.bucket_counts):
            return
        ended = bool(point.flags & NO_VALUE_FLAG)
        of = _ENDED if ended else from_otlp(point)
        if isinstance(of, Reason):
            self._batch.refusals.refuse(of)
            return
        found = self._series(point, metric)
        if found is None:
            return
        number, _, labels = found
        if delta and not ended:
            total = self._added(_key(metric, labels), point, of)
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
        ts = point.time_unix_nano // NS_PER_MS
        metric.target.seen(ts, ts)
        return labels_of(point.attributes, metric.target, self._batch, room)

    def _series(self, point: Any, metric: Named) -> tuple[int, bool, dict[str, str]] | None:
        of = self._labels(point, metric)
        found = None if of is None else self._batch.admit(metric.name, of)
        return None if found is None or of is None else (*found, of)

    def _added(self, key: bytes, point: Any, value: Any) -> Any:
        total = self._batch.sums.add(key, point.time_unix_nano, value)
        if total is None:
            self._batch.refusals.refuse(OUT_OF_ORDER)
        return total

    def _exemplars(self, point: Any, place: Callable[[float], int]) -> None:
        for exemplar in point.exemplars[: self._batch.room_for_exemplars(len(point.exemplars))]:
            keep_exemplar(exemplar, place, self._batch, self._clock)


def _key(metric: Named, labels: dict[str, str]) -> bytes:
    """What the sum of a series is known by."""
    return f"{metric.name}\xff{series_id(metric.name, labels)}".encode()
