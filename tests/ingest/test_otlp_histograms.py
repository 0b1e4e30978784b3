"""Exponential histograms and delta temporality: native histograms, and sums that survive what clients do."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    Metric,
)

from otlp_messages import attributes, metrics_request
from rushes.ingest import Limits, Receiver
from rushes.ingest.exponential import from_otlp, summed
from rushes.ingest.histograms import Native
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.store.interface import Param, Row, Store, StoreUnavailable, Table
from telemetry_store import NOW_NS, NOW_S, shared_store, unique

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
S = 1_000_000_000


def send(receiver: Receiver, *metrics: Metric) -> ExportMetricsPartialSuccess:
    reply = asyncio.run(receiver.receive("metrics", metrics_request(*metrics).SerializeToString()))
    assert isinstance(reply, ExportMetricsServiceResponse)
    return reply.partial_success


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(shared_store(), clock_ns=lambda: NOW_NS)


def exponential(name: str, *, temporality: Any = CUMULATIVE, **point: Any) -> Metric:
    metric = Metric(name=name, unit="s")
    metric.exponential_histogram.aggregation_temporality = temporality
    metric.exponential_histogram.data_points.add(**{"time_unix_nano": NOW_NS, "sum": 18.5} | point)
    return metric


def stored(name: str) -> list[Row]:
    return shared_store().rows(
        "SELECT toUnixTimestamp64Milli(ts) AS ms, count, sum, schema, zero_threshold, zero_count, "
        "positive_indices, positive_counts, negative_indices, negative_counts, "
        "reinterpretAsUInt64(sum) AS bits FROM histograms WHERE metric = {m:String} ORDER BY ts",
        {"m": name},
    )


def values(query: str, at_s: float = NOW_S + 1) -> list[tuple[dict[str, str], float]]:
    return [(one.labels, one.values[0]) for one in PromQL(shared_store()).instant(query, at_s).series]


def buckets(offset: int, *counts: int) -> ExponentialHistogramDataPoint.Buckets:
    return ExponentialHistogramDataPoint.Buckets(offset=offset, bucket_counts=counts)


def test_an_exponential_histogram_is_a_native_one_a_place_further(receiver: Receiver) -> None:
    name = unique("exp")
    metric = exponential(
        name,
        scale=1,
        count=10,
        zero_count=2,
        zero_threshold=0.001,
        positive=buckets(-2, 1, 3, 0, 2),
        negative=buckets(1, 2),
        attributes=attributes({"model": "MOCHI1"}),
    )
    exemplar = metric.exponential_histogram.data_points[0].exemplars.add(as_double=1, time_unix_nano=NOW_NS)
    exemplar.trace_id = bytes(range(16))
    assert send(receiver, metric).rejected_data_points == 0
    (found,) = stored(name)
    assert (found["count"], found["sum"], found["schema"], found["zero_count"]) == (10, 18.5, 1, 2)
    assert (found["positive_indices"], found["positive_counts"]) == ([-1, 0, 2], [1, 3, 2])
    assert (found["negative_indices"], found["negative_counts"]) == ([2], [2])
    (labels,) = SeriesIndex(shared_store()).series([name])
    assert labels == {"__name__": name, "model": "MOCHI1", "job": "svc", "instance": "i1"}
    assert SeriesIndex(shared_store()).metadata(name)[name].type == "histogram"
    (series,) = SeriesIndex(shared_store()).exemplars(name, NOW_S - 1, NOW_S + 1)
    assert series.exemplars[0].labels["trace_id"] == bytes(range(16)).hex()
    assert (receiver.stats.histograms, receiver.stats.exemplars) == (1, 1)


def test_a_finer_scale_than_prometheus_has_is_merged_and_a_coarser_one_refused(receiver: Receiver) -> None:
    name = unique("exp")
    fine = exponential(name, scale=10, count=6, positive=buckets(-3, 1, 1, 1, 1, 2))
    assert send(receiver, fine).rejected_data_points == 0
    (found,) = stored(name)
    # OTLP's indices -3..1 of scale 10 are -1, -1, -1, 0, 0 of scale 8, which Prometheus counts from 1.
    assert (found["schema"], found["positive_indices"], found["positive_counts"]) == (8, [0, 1], [3, 3])
    partial = send(receiver, exponential(name, scale=-5, count=1, positive=buckets(0, 1)))
    assert "coarser than Prometheus' -4" in partial.error_message
    partial = send(receiver, exponential(name, count=2, positive=buckets(0, 1)))
    assert "don't add up to its count" in partial.error_message
    assert receiver.stats.refused == {"malformed_histogram": 2}


def test_the_end_of_a_native_histogram(receiver: Receiver) -> None:
    name = unique("exp")
    send(receiver, exponential(name, flags=1))
    assert stored(name)[0]["bits"] == 0x7FF0000000000002


@given(
    values=st.lists(st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6), max_size=30),
    scales=st.tuples(st.integers(-4, 12), st.integers(-4, 12)),
)
def test_merging_buckets_keeps_every_value_within_its_bucket(
    values: list[float], scales: tuple[int, int]
) -> None:
    halves = [values[::2], values[1::2]]
    found = [from_otlp(_point(half, scale)) for half, scale in zip(halves, scales, strict=True)]
    assert isinstance(found[0], Native)
    assert isinstance(found[1], Native)
    total = summed(found[0], found[1])
    assert total.schema == min(8, *scales)
    assert total.count == len(values)
    assert sum((*total.positive.values(), *total.negative.values())) == len(values)
    base = 2.0 ** (2.0**-total.schema)
    for value in values:
        side = total.positive if value > 0 else total.negative
        near = math.log(abs(value), base)
        assert any(side.get(index) for index in (math.ceil(near) - 1, math.ceil(near), math.ceil(near) + 1))


def _point(values: list[float], scale: int) -> ExponentialHistogramDataPoint:
    point = ExponentialHistogramDataPoint(scale=scale, count=len(values), sum=sum(values))
    for buckets_, side in (
        (point.positive, [v for v in values if v > 0]),
        (point.negative, [-v for v in values if v < 0]),
    ):
        places = [math.ceil(math.log2(value) * 2.0**scale) - 1 for value in side]
        if places:
            low = buckets_.offset = min(places)
            counts = [0] * (max(places) - low + 1) if max(places) - low < 10**6 else []
            if not counts:  # too far apart to be sent at such a scale
                point.ClearField("positive")
                point.ClearField("negative")
                return _point(values, scale - 4)
            for place in places:
                counts[place - low] += 1
            buckets_.bucket_counts.extend(counts)
    return point


def delta_sum(name: str, value: float, at_s: int, *, monotonic: bool = True, **labels: Any) -> Metric:
    metric = Metric(name=name)
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = DELTA, monotonic
    metric.sum.data_points.add(
        as_double=value,
        start_time_unix_nano=NOW_NS + (at_s - 10) * S,
        time_unix_nano=NOW_NS + at_s * S,
        attributes=attributes(labels),
    )
    return metric


def test_deltas_add_up_and_a_repeated_one_is_not_counted_again(receiver: Receiver) -> None:
    name = unique("delta")
    assert send(receiver, delta_sum(name, 2, -20), delta_sum(name, 3, -10)).rejected_data_points == 0
    assert send(receiver, delta_sum(name, 4, 0)).rejected_data_points == 0
    partial = send(receiver, delta_sum(name, 4, 0))
    assert (partial.rejected_data_points, receiver.stats.refused) == (1, {"delta_out_of_order": 1})
    assert values(name)[0][1] == 9
    assert values(f"sum(increase({name}[40s]))")[0][1] >= 9, "what the first point added is seen as well"
    assert SeriesIndex(shared_store()).metadata(name)[name].type == "counter"


def test_after_a_restart_a_delta_series_begins_anew_which_is_a_counters_reset(receiver: Receiver) -> None:
    name = unique("delta")
    send(receiver, delta_sum(name, 7, -20))
    send(Receiver(shared_store(), clock_ns=lambda: NOW_NS), delta_sum(name, 2, -10))
    assert values(name)[0][1] == 2
    assert values(f"resets({name}[60s])")[0][1] == 1


class Stumbling:
    """A store that can't take the next samples, once."""

    def __init__(self) -> None:
        self.away = False

    retention_s = shared_store().retention_s

    def insert(self, table: Table, rows: Any) -> None:
        if self.away and table == "samples":
            self.away = False
            raise StoreUnavailable("away")
        shared_store().insert(table, rows)

    def query(
        self, sql: str, params: Mapping[str, Param] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        return shared_store().query(sql, params)

    def rows(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        return []

    def close(self) -> None: ...


def test_a_delta_that_was_not_stored_is_not_counted_until_it_is() -> None:
    name, store = unique("delta"), Stumbling()
    receiver = Receiver(cast("Store", store), clock_ns=lambda: NOW_NS)
    send(receiver, delta_sum(name, 1, -10))
    store.away = True
    with pytest.raises(StoreUnavailable):
        send(receiver, delta_sum(name, 5, 0))
    send(receiver, delta_sum(name, 5, 0))
    assert values(name)[0][1] == 6


class Holding(Stumbling):
    """A store that takes its time with the samples of one metric."""

    def __init__(self, metric: str) -> None:
        super().__init__()
        self.metric, self.came, self.go_on = metric, threading.Event(), threading.Event()

    def insert(self, table: Table, rows: Any) -> None:
        if table == "samples" and self.metric in rows.column("metric").to_pylist():
            self.came.set()
            assert self.go_on.wait(60)
        shared_store().insert(table, rows)


def test_clients_that_send_deltas_wait_for_each_other_and_nobody_for_them() -> None:
    name, other = unique("delta"), unique("delta")
    store = Holding(name)
    receiver = Receiver(cast("Store", store), clock_ns=lambda: NOW_NS, workers=3)

    async def exports() -> None:
        def export(*metrics: Metric) -> asyncio.Task[Any]:
            return asyncio.create_task(
                receiver.receive("metrics", metrics_request(*metrics).SerializeToString())
            )

        first = export(delta_sum(name, 1, -20))
        assert await asyncio.to_thread(store.came.wait, 60)
        second = export(delta_sum(other, 1, -20))
        await asyncio.wait_for(export(_gauge(unique("plain"), 0)), 60)
        assert not first.done()
        assert not second.done()
        store.go_on.set()
        await asyncio.gather(first, second)

    asyncio.run(exports())
    assert values(other, NOW_S - 19)[0][1] == 1
    receiver.close()


def test_a_delta_histogram_ends_in_every_series_that_it_had(receiver: Receiver) -> None:
    name = unique("ended")
    send(receiver, delta_histogram(name, [1, 5], [1, 2, 0], -10, 4))
    assert len(values(f'{{__name__=~"{name}.*"}}', NOW_S - 5)) == 5
    ended = Metric(name=name)
    ended.histogram.aggregation_temporality = DELTA
    ended.histogram.data_points.add(time_unix_nano=NOW_NS, flags=1)
    assert send(receiver, ended).rejected_data_points == 0
    assert values(f'{{__name__=~"{name}.*"}}') == []
    unknown = Metric()
    unknown.CopyFrom(ended)
    unknown.name = unique("ended")
    before = receiver.stats.samples
    assert send(receiver, unknown).rejected_data_points == 0
    assert receiver.stats.samples == before, "what never began does not end"


def delta_histogram(name: str, bounds: list[float], counts: list[int], at_s: int, total: float) -> Metric:
    metric = Metric(name=name)
    metric.histogram.aggregation_temporality = DELTA
    metric.histogram.data_points.add(
        explicit_bounds=bounds,
        bucket_counts=counts,
        count=sum(counts),
        sum=total,
        time_unix_nano=NOW_NS + at_s * S,
        start_time_unix_nano=NOW_NS + (at_s - 10) * S,
    )
    return metric


def test_delta_histograms_add_up_bucket_by_bucket(receiver: Receiver) -> None:
    name = unique("delta")
    send(receiver, delta_histogram(name, [1, 5], [1, 2, 0], -10, 4))
    send(receiver, delta_histogram(name, [1, 5], [0, 1, 1], 0, 9))
    assert {labels["le"]: value for labels, value in values(f"{name}_bucket")} == {"1": 1, "5": 4, "+Inf": 5}
    assert (values(f"{name}_count")[0][1], values(f"{name}_sum")[0][1]) == (5, 13)
    partial = send(receiver, delta_histogram(name, [1, 5], [1, 1], 5, 1))
    assert "one bucket more than bounds" in partial.error_message


def test_delta_exponential_histograms_add_up_in_the_coarser_scale(receiver: Receiver) -> None:
    name = unique("delta")
    send(
        receiver,
        exponential(
            name, temporality=DELTA, scale=1, count=3, positive=buckets(0, 1, 2), time_unix_nano=NOW_NS - S
        ),
    )
    send(receiver, exponential(name, temporality=DELTA, scale=0, count=2, positive=buckets(0, 1, 1), sum=1.5))
    first, second = stored(name)
    assert (first["schema"], first["positive_indices"], first["positive_counts"]) == (1, [1, 2], [1, 2])
    assert (second["schema"], second["positive_indices"], second["positive_counts"]) == (0, [1, 2], [4, 1])
    assert (second["count"], second["sum"]) == (5, 20)


def test_no_temporality_and_no_value_are_refused_by_name(receiver: Receiver) -> None:
    name = unique("refused")
    neither = Metric(name=name)
    neither.sum.data_points.add(as_int=1, time_unix_nano=NOW_NS)
    empty = Metric(name=name)
    empty.gauge.data_points.add(time_unix_nano=NOW_NS)
    assert send(receiver, neither, empty).rejected_data_points == 2
    assert receiver.stats.refused == {"no_temporality": 1, "no_value": 1}


def test_a_histogram_that_ends_without_its_bounds_ends_in_every_bucket(receiver: Receiver) -> None:
    name = unique("ended")
    metric = delta_histogram(name, [1, 5], [1, 2, 0], -10, 4)
    metric.histogram.aggregation_temporality = CUMULATIVE
    send(receiver, metric)
    assert len(values(f"{name}_bucket", NOW_S - 5)) == 3
    ended = Metric(name=name)
    ended.histogram.aggregation_temporality = CUMULATIVE
    ended.histogram.data_points.add(time_unix_nano=NOW_NS, flags=1)
    send(receiver, ended)
    assert values(f'{{__name__=~"{name}.*"}}') == []


def test_other_bounds_are_other_series_and_the_old_ones_stay(receiver: Receiver) -> None:
    name = unique("bounds")
    for at, bounds in ((-10, [1.0]), (0, [1.0, 2.0])):
        metric = delta_histogram(name, bounds, [1] * (len(bounds) + 1), at, 4)
        metric.histogram.aggregation_temporality = CUMULATIVE
        assert send(receiver, metric).rejected_data_points == 0
    assert {labels["le"]: value for labels, value in values(f"{name}_bucket")} == {"1": 1, "2": 2, "+Inf": 3}


def test_series_are_told_to_the_store_again_and_forgotten_when_idle() -> None:
    now = [NOW_NS]
    receiver = Receiver(
        shared_store(), clock_ns=lambda: now[0], limits=Limits(series_per_metric=1, series_active_s=100)
    )
    name = unique("hourly")

    def told() -> list[int]:
        rows = shared_store().rows(
            "SELECT toUnixTimestamp(last_seen) AS seen FROM series WHERE metric = {m:String} "
            "AND labels['a'] = '1' ORDER BY seen",
            {"m": name},
        )
        return sorted({row["seen"] for row in rows})

    for at in (0, 40, 60):
        now[0] = NOW_NS + at * S
        send(receiver, _gauge(name, at, a="1"))
    assert max(told()) == NOW_S + 60
    assert send(receiver, _gauge(name, 61, a="2")).rejected_data_points == 1
    now[0] = NOW_NS + 200 * S
    assert send(receiver, _gauge(name, 200, a="2")).rejected_data_points == 0, "the first has gone"
    assert send(receiver, _gauge(name, 200, a="1")).rejected_data_points == 1


def _gauge(name: str, at_s: int, **labels: Any) -> Metric:
    metric = Metric(name=name)
    metric.gauge.data_points.add(as_int=1, time_unix_nano=NOW_NS + at_s * S, attributes=attributes(labels))
    return metric


def test_a_clock_that_jumps_back_is_counted_and_the_service_goes_on() -> None:
    now = [NOW_NS]
    receiver = Receiver(shared_store(), clock_ns=lambda: now[0])
    name = unique("jump")
    assert send(receiver, _gauge(name, 0)).rejected_data_points == 0
    now[0] = NOW_NS - 3600 * S
    assert send(receiver, _gauge(name, 1), _gauge(name, -3600)).rejected_data_points == 1
    assert receiver.stats.refused == {"in_the_future": 1}
    now[0] = NOW_NS + 10 * S
    assert send(receiver, _gauge(name, 10)).rejected_data_points == 0
    assert values(f"count_over_time({name}[2h])", NOW_S + 11)[0][1] == 3
