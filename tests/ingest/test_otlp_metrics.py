"""Metrics over OTLP: names stay exact, histograms become Prometheus' classic series, the rest is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from otlp_messages import attributes, metrics_request
from rushes.ingest import Limits, Receiver
from rushes.ingest.labels import label_name, le
from rushes.ingest.series import TOO_MANY, Series
from rushes.ingest.stats import Reason
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.store.chdb_store import ChdbStore
from telemetry_store import NOW_NS, NOW_S, shared_store, unique

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


def send(
    *metrics: Metric, receiver: Receiver | None = None, namespace: str = ""
) -> tuple[ExportMetricsPartialSuccess, Receiver]:
    receiver = receiver or Receiver(
        shared_store(), limits=Limits(labels=8, series_per_metric=5), clock_ns=lambda: NOW_NS
    )
    body = metrics_request(*metrics, **{"service.namespace": namespace}).SerializeToString()
    reply = asyncio.run(receiver.receive("metrics", body))
    assert isinstance(reply, ExportMetricsServiceResponse)
    return reply.partial_success, receiver


def gauge(name: str, value: float, labels: dict[str, Any] | None = None, ts: int = NOW_NS) -> Metric:
    metric = Metric(name=name, description="what it is", unit="ms")
    metric.gauge.data_points.add(as_double=value, time_unix_nano=ts, attributes=attributes(labels or {}))
    return metric


def histogram(name: str, bounds: list[float], counts: list[int], **point: Any) -> Metric:
    metric = Metric(name=name)
    metric.histogram.aggregation_temporality = point.pop("temporality", CUMULATIVE)
    metric.histogram.data_points.add(
        **{
            "explicit_bounds": bounds,
            "bucket_counts": counts,
            "count": sum(counts),
            "sum": 12.5,
            "time_unix_nano": NOW_NS,
        }
        | point
    )
    return metric


def value_of(store: ChdbStore, query: str) -> list[tuple[dict[str, str], float]]:
    return [(one.labels, one.values[0]) for one in PromQL(store).instant(query, NOW_S + 1).series]


@pytest.mark.parametrize("ending", ["_ms", "_count", "_total", "_seconds"])
def test_names_stay_exact_whatever_their_unit_and_kind(store: ChdbStore, ending: str) -> None:
    name = unique("dit") + ending
    counter = Metric(name=name + "_c", unit="s")
    counter.sum.aggregation_temporality, counter.sum.is_monotonic = CUMULATIVE, True
    counter.sum.data_points.add(as_int=7, time_unix_nano=NOW_NS)
    partial, _ = send(gauge(name, 1.5), counter)
    assert partial.rejected_data_points == 0
    target = {"job": "svc", "instance": "i1"}
    assert value_of(store, name) == [({"__name__": name} | target, 1.5)]
    assert value_of(store, name + "_c") == [({"__name__": name + "_c"} | target, 7.0)]
    about = SeriesIndex(store).metadata(name)[name]
    assert (about.type, about.help, about.unit) == ("gauge", "what it is", "ms")
    assert SeriesIndex(store).metadata(name + "_c")[name + "_c"].type == "counter"


def test_a_histogram_becomes_cumulative_buckets_sum_and_count(store: ChdbStore) -> None:
    name = unique("latency")
    metric = histogram(name, [0.5, 1, 2.5, 1e-7 * 1e9], [1, 2, 0, 4, 1])
    exemplar = metric.histogram.data_points[0].exemplars.add(
        as_double=0.7, time_unix_nano=NOW_NS, trace_id=bytes(range(1, 17)), span_id=bytes(range(1, 9))
    )
    exemplar.filtered_attributes.extend(attributes({"user": "u"}))
    partial, receiver = send(metric, namespace="ns")
    assert partial.rejected_data_points == 0
    assert receiver.stats.samples == 7
    buckets = {labels["le"]: value for labels, value in value_of(store, f"{name}_bucket")}
    assert buckets == {"0.5": 1, "1": 3, "2.5": 3, "100": 7, "+Inf": 8}
    (count,) = value_of(store, f"{name}_count")
    assert count == ({"__name__": f"{name}_count", "job": "ns/svc", "instance": "i1"}, 8.0)
    assert value_of(store, f"{name}_sum")[0][1] == 12.5
    (found,) = SeriesIndex(store).exemplars(f"rate({name}_bucket[5m])", NOW_S - 1, NOW_S + 1)
    assert found.labels["le"] == "1"
    (kept,) = found.exemplars
    assert (kept.value, kept.ts_ms) == (0.7, NOW_S * 1000)
    assert kept.labels == {"trace_id": bytes(range(1, 17)).hex(), "span_id": "0102030405060708", "user": "u"}


def test_what_a_series_is_born_with_counts(store: ChdbStore) -> None:
    """A counter's first export at 3, and a histogram's first observation, show in increase()."""
    name, second = unique("born"), 1_000_000_000

    def counter(value: int, ts: int) -> Metric:
        metric = Metric(name=name)
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = CUMULATIVE, True
        metric.sum.data_points.add(as_int=value, time_unix_nano=ts, start_time_unix_nano=NOW_NS - 60 * second)
        return metric

    begun = {"start_time_unix_nano": NOW_NS - 60 * second}
    _, receiver = send(
        counter(3, NOW_NS - 30 * second),
        histogram(f"{name}_h", [1], [2, 0], time_unix_nano=NOW_NS - 30 * second, **begun),
    )
    send(counter(3, NOW_NS), histogram(f"{name}_h", [1], [2, 0], **begun), receiver=receiver)
    ((_, increase),) = value_of(store, f"sum(increase({name}[2m]))")
    assert increase >= 3
    ((_, quantile),) = value_of(store, f"histogram_quantile(0.5, rate({name}_h_bucket[2m]))")
    assert quantile == 0.5
    ((_, samples),) = value_of(store, f"count_over_time({name}[2m])")
    assert samples == 3  # 0 at its beginning, once, and what was exported


def test_an_old_series_is_not_given_a_beginning_that_was_not_seen(store: ChdbStore) -> None:
    metric = Metric(name=unique("old"))
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = CUMULATIVE, True
    metric.sum.data_points.add(
        as_int=3, time_unix_nano=NOW_NS, start_time_unix_nano=NOW_NS - 3_600_000_000_000
    )
    send(metric)
    ((_, samples),) = value_of(store, f"count_over_time({metric.name}[2h])")
    assert samples == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"bounds": [1.0], "counts": [1, 1, 1]},
        {"bounds": [2.0, 1.0], "counts": [1, 1, 1]},
        {"bounds": [float("nan")], "counts": [1, 1]},
        {"bounds": [1.0], "counts": [1, 1], "count": 3},
    ],
)
def test_a_histogram_that_contradicts_itself_is_refused_whole(broken: dict[str, Any]) -> None:
    name = unique("broken")
    partial, receiver = send(histogram(name, **broken))
    assert partial.rejected_data_points == 1
    assert receiver.stats.samples == 0


def test_labels_series_and_times_are_limited(store: ChdbStore) -> None:
    name = unique("limited")
    many = {f"l{number}": "x" for number in range(9)}
    partial, receiver = send(
        gauge(name, 1, many),
        gauge(name, 1, {"__name__": "other"}),
        gauge(name, 1, ts=NOW_NS + 601 * 10**9),
        *(gauge(name, 1, {"n": str(number)}) for number in range(7)),
    )
    assert receiver.stats.refused == {
        "too_many_labels": 1,
        "reserved_label": 1,
        "in_the_future": 1,
        "too_many_series": 2,
    }
    assert partial.rejected_data_points == 5
    # The limit holds across requests and restarts, and known series go on.
    for again in (receiver, None):
        partial, _ = send(
            gauge(name, 2, {"n": "0"}), gauge(name, 2, {"n": "new"}), receiver=again or _limited()
        )
        assert partial.rejected_data_points == 1
    assert len(SeriesIndex(store).series([name])) == 5


def _limited() -> Receiver:
    return Receiver(shared_store(), limits=Limits(series_per_metric=5), clock_ns=lambda: NOW_NS)


def test_a_full_metric_is_searched_for_idle_series_once_a_minute() -> None:
    """So that refusing a flood of new series costs the same however many there are."""
    known = Series(per_metric=2, in_all=1000, active_s=100)
    for name in "12":
        known.admit("full", {"n": name}, 1000)
        known.admit("other", {"n": name}, 1000)
    assert known.admit("full", {"n": "3"}, 1100) == TOO_MANY, "nothing is idle yet"
    assert known.admit("full", {"n": "3"}, 1159) == TOO_MANY, "idle, but looked for within the minute"
    assert known.admit("other", {"n": "3"}, 1159) not in (TOO_MANY, None), "each metric for itself"
    known.use(np.array([0]), 1159)
    assert known.admit("full", {"n": "1"}, 1159) == (0, False), "known series go on"
    admitted = known.admit("full", {"n": "3"}, 1160)
    assert not isinstance(admitted, Reason)
    assert admitted[1]
    assert known.admit("full", {"n": "2"}, 1160) == TOO_MANY, "it was idle, and its place is taken"


def test_values_are_cut_and_counted(store: ChdbStore) -> None:
    name = unique("cut")
    _, receiver = send(gauge(name, 1, {"long": "x" * 5000, "empty": ""}))
    ((labels, _),) = value_of(store, name)
    assert len(labels["long"]) == 4096
    assert "empty" not in labels
    assert receiver.stats.cut == 1


def test_a_point_without_value_ends_the_series(store: ChdbStore) -> None:
    name = unique("ended")
    ended = gauge(name, 0)
    ended.gauge.data_points[0].flags = 1
    send(gauge(name, 1, ts=NOW_NS - 10 * 10**9), ended)
    assert PromQL(store).instant(name, NOW_S - 1).series[0].values == [1.0]
    assert value_of(store, name) == []


def test_a_summary_becomes_quantiles(store: ChdbStore) -> None:
    name = unique("summary")
    metric = Metric(name=name)
    point = metric.summary.data_points.add(count=2, sum=3.0, time_unix_nano=NOW_NS)
    point.quantile_values.add(quantile=0.99, value=2.0)
    send(metric)
    assert [(labels["quantile"], value) for labels, value in value_of(store, name)] == [("0.99", 2.0)]
    assert value_of(store, f"{name}_count")[0][1] == 2


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (0.5, "0.5"),
        (1.0, "1"),
        (1e-7, "0.0000001"),
        (1e21, "1" + "0" * 21),
        (float("inf"), "+Inf"),
        (-2.5, "-2.5"),
    ],
)
def test_bounds_are_written_as_prometheus_writes_them(bound: float, text: str) -> None:
    assert le(bound) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_bounds_read_back_as_themselves(bound: float) -> None:
    assert float(le(bound)) == bound
    assert "e" not in le(bound)


def test_attribute_keys_become_labels_that_promql_can_name() -> None:
    assert [label_name(key) for key in ("model", "http.method", "0x", "a-b")] == [
        "model",
        "http_method",
        "key_0x",
        "a_b",
    ]
