"""Spans and logs as columns, against OpenTelemetry's own messages walked one by one; and what hostile bodies cost."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    Metric,
    SummaryDataPoint,
)

from otlp_messages import attributes as key_values
from otlp_messages import logs_request, metrics_request, trace_request
from remote_write_messages import Symbols, field, number, packed, series1, varint
from rushes.ingest import Receiver
from rushes.ingest.columns import Clockwork
from rushes.ingest.limits import BodyTooLarge, Limits, UndecodableBody
from rushes.ingest.logs import log_table
from rushes.ingest.remote_write import take_request, take_write_request
from rushes.ingest.series import TOO_MANY_IN_ALL, Series
from rushes.ingest.spans import span_table
from rushes.ingest.stats import Reason, Refusals
from telemetry_store import NOW_NS, shared_store, unique

Buckets = ExponentialHistogramDataPoint.Buckets
SummaryQuantile = SummaryDataPoint.ValueAtQuantile
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CLOCK = Clockwork(NOW_NS, 10**9, 600)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), VALUES, max_size=6)


def meant(value: Any) -> Any:
    """A value as the store keeps it."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case float() if not math.isfinite(value):
            return str(value)
        case list():
            return [meant(item) for item in value]
        case dict():
            return {key: meant(item) for key, item in value.items()}
        case _:
            return value


@settings(max_examples=150)
@given(spans=st.lists(ATTRIBUTES, min_size=1, max_size=4))
def test_attributes_of_every_type_are_kept_with_their_type(spans: list[dict[str, Any]]) -> None:
    request = trace_request(count=0)
    for of in spans:
        one = trace_request(attributes=of).resource_spans[0].scope_spans[0].spans[0]
        request.resource_spans[0].scope_spans[0].spans.append(one)
    refusals = Refusals()
    table, _ = span_table(request.SerializeToString(), CLOCK, Limits(), refusals)
    for row, of in zip(table.to_pylist(maps_as_pydicts="strict"), spans, strict=True):
        typed = json.loads(row["attributes_typed"] or "{}")
        found = row["attributes"] | typed
        assert found == {key: meant(value) for key, value in of.items()}
        for key, value in of.items():
            assert type(found[key]) is type(meant(value)), "a whole double stays a double"
    assert (refusals.cut, refusals.total) == (0, 0)


@settings(max_examples=100)
@given(of=ATTRIBUTES, body=VALUES, own=st.dictionaries(st.sampled_from(["event", "component", "x"]), VALUES))
def test_records_give_their_own_fields_columns(of: dict[str, Any], body: Any, own: dict[str, Any]) -> None:
    request = logs_request(attributes=of | own, body=body)
    table, _ = log_table(request.SerializeToString(), CLOCK, Limits(), Refusals())
    (row,) = table.to_pylist(maps_as_pydicts="strict")
    everything = {key: meant(value) for key, value in (of | own).items()}

    def says(text: str, value: Any) -> bool:
        """Numbers are the same however they are written."""
        if isinstance(value, str) or value is None:
            return text == (value or "")
        return bool(json.loads(text) == value)

    assert says(row["event"], everything.pop("event", ""))
    assert says(row["component"], everything.pop("component", ""))
    assert says(row["body"], meant(body))
    assert row["context"] | json.loads(row["context_typed"] or "{}") == everything


def test_of_equal_keys_the_first_wins_and_of_too_many_the_first_are_kept() -> None:
    request = trace_request()
    span = request.resource_spans[0].scope_spans[0].spans[0]
    for pair in ({"a": "1"}, {"a": 2}, {"b": 3}, {"b": "4"}, {"c": 5}, {"d": "6"}):
        span.attributes.extend(key_values(pair))
    refusals = Refusals()
    table, _ = span_table(request.SerializeToString(), CLOCK, Limits(attributes=3), refusals)
    (row,) = table.to_pylist(maps_as_pydicts="strict")
    assert (row["attributes"], row["attributes_typed"]) == ({"a": "1"}, '{"b":3,"c":5}')
    assert refusals.cut == 1


def test_long_texts_are_cut_everywhere() -> None:
    long = "é" * 50
    request = trace_request(attributes={"k" * 50: long, "list": [long]}, name=long, trace_state=long)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.status.message = long
    request.resource_spans[0].scope_spans[0].scope.name = long
    refusals = Refusals()
    table, _ = span_table(request.SerializeToString(), CLOCK, Limits(value_length=10), refusals)
    (row,) = table.to_pylist(maps_as_pydicts="strict")
    assert row["attributes"] == {"k" * 10: "é" * 10}
    assert json.loads(row["attributes_typed"]) == {"list": ["é" * 10]}
    for name in ("name", "trace_state", "status_message", "scope_name"):
        assert row[name] == "é" * 10
    assert refusals.cut == 2


GOOD = trace_request().resource_spans[0].scope_spans[0].spans[0].SerializeToString()
EMPTY_SPANS = field(1, field(2, field(2, b"") * 400_000))
EMPTY_ATTRIBUTES = field(1, field(2, field(2, GOOD + field(9, b"") * 400_000)))


@pytest.mark.parametrize("bomb", [EMPTY_SPANS, EMPTY_ATTRIBUTES])
def test_two_bytes_that_announce_a_message_cost_little_memory(bomb: bytes) -> None:
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(UndecodableBody, match="can't be"):
        span_table(bomb, CLOCK, Limits(), Refusals())
    assert pa.default_memory_pool().max_memory() - before < 20 * len(bomb)


def test_values_within_values_end_somewhere() -> None:
    value: Any = "bottom"
    for _ in range(30):
        value = [value]
    refusals = Refusals()
    table, _ = span_table(
        trace_request(attributes={"deep": value}).SerializeToString(), CLOCK, Limits(), refusals
    )
    assert '"bottom"' not in table.to_pylist()[0]["attributes_typed"]
    assert refusals.cut == 1
    nested = b""
    for _ in range(500):
        nested = field(5, field(1, nested))
    body = field(1, field(2, field(2, GOOD + field(9, field(1, "k") + field(2, nested)))))
    with pytest.raises(UndecodableBody):
        span_table(body, CLOCK, Limits(), Refusals())


def test_a_body_and_an_own_field_are_limited_as_attributes_are() -> None:
    wide, refusals = list(range(1000)), Refusals()
    request = logs_request(body={"a": wide, "raw": b"x" * 100}, attributes={"component": [*wide, b"x"]})
    limits = Limits(attributes=5, value_length=10)
    table, _ = log_table(request.SerializeToString(), CLOCK, limits, refusals)
    (row,) = table.to_pylist(maps_as_pydicts="strict")
    assert json.loads(row["body"]) == {"a": [0, 1, 2, 3, 4], "raw": "eHh4eHh4eH"}
    assert json.loads(row["component"]) == [0, 1, 2, 3, 4]
    assert json.loads(row["rest"]) == {"exact": {"component": None}, "body": None}
    assert refusals.cut == 995 + 996 + 1


def test_series_in_all_are_limited_and_what_is_forgotten_leaves_nothing_behind() -> None:
    series = Series(per_metric=10, in_all=50, active_s=100)
    swept: list[int] = []
    series.on_sweep.append(lambda: swept.append(1))
    for generation in range(20):
        now = 1000 + generation * 200
        for place in range(60):
            found = series.admit(f"m{generation}_{place}", {"n": str(place)}, now)
            if place < 50:
                assert not isinstance(found, Reason)
                series.bind(f"key {generation} {place}", found[0])
            else:
                assert found == TOO_MANY_IN_ALL
        assert len(series) == 50
    assert len(swept) == 19
    assert len(series._names) <= 50
    assert len(series._keys) == 50
    assert len(series._ids) == 1024, "numbers are used again"


def test_one_series_under_ever_new_disguises_does_not_grow_without_end() -> None:
    series = Series(per_metric=10, in_all=10, active_s=100)
    found = series.admit("m", {}, 1)
    assert not isinstance(found, Reason)
    for place in range(50_000):
        series.bind(str(place), found[0])
    assert len(series._keys) < 10_000


@pytest.mark.parametrize("length", [2**64 - 1, 2**64 - 10, 2**63, 2**32 - 1])
@pytest.mark.parametrize("tag", [0x0A, 0x12, 0x7A])
def test_a_length_beyond_all_lengths_is_refused(length: int, tag: int) -> None:
    for body in (
        bytes([tag]) + varint(length) + bytes(20),
        field(1, field(2, field(2, bytes([tag]) + varint(length)))),
    ):
        with pytest.raises(UndecodableBody):
            span_table(body, CLOCK, Limits(), Refusals())


def test_the_decoder_to_arrow_is_spared_what_it_trips_over(capfd: pytest.CaptureFixture[str]) -> None:
    for last in range(128):
        with pytest.raises(UndecodableBody):
            span_table(b"\x0a\xfd" + b"\xff" * 8 + bytes([last, *bytes(30)]), CLOCK, Limits(), Refusals())
    assert "panicked" not in capfd.readouterr().err


def test_negative_numbers_are_no_reason_to_refuse() -> None:
    table, _ = span_table(
        trace_request(attributes={"code": -1}).SerializeToString(), CLOCK, Limits(), Refusals()
    )
    assert table.to_pylist()[0]["attributes_typed"] == '{"code":-1}'


SMALL = Limits(expanded_bytes=100_000, buckets=50, exemplars=3)


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_what_items_share_must_not_become_more_than_can_be_held(signal: str) -> None:
    request: Any = trace_request(count=200) if signal == "traces" else logs_request()
    of = request.resource_spans[0] if signal == "traces" else request.resource_logs[0]
    of.resource.attributes.extend(key_values({"large": "x" * 2000}))
    if signal == "logs":
        of.scope_logs[0].log_records.extend([of.scope_logs[0].log_records[0]] * 200)
    body = request.SerializeToString()
    take = span_table if signal == "traces" else log_table
    assert take(body, CLOCK, Limits(), Refusals())[0].num_rows >= 200
    with pytest.raises(BodyTooLarge, match="share is written out"):
        take(body, CLOCK, SMALL, Refusals())


def send(body: bytes, limits: Limits, signal: str = "metrics") -> tuple[Any, Receiver]:
    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS, limits=limits)
    try:
        if signal == "metrics":
            return asyncio.run(receiver.receive("metrics", body)), receiver
        take = take_write_request if signal == "v1" else take_request
        return asyncio.run(receiver.write("remote_write", body, lambda b, c: take(body, b, c))), receiver
    finally:
        receiver.close()


def test_a_symbol_that_everything_refers_to_must_not_become_more_than_can_be_held() -> None:
    symbols = Symbols()
    name, large = symbols("__name__"), symbols("x" * 2000)
    one = field(5, packed(1, [name, large]))
    with pytest.raises(BodyTooLarge):
        send(symbols.request(*[one] * 200), SMALL, "v2")


def test_a_long_name_on_many_points_must_not_become_more_than_can_be_held() -> None:
    metric = Metric(name="x" * 2000)
    for _ in range(200):
        metric.gauge.data_points.add(as_int=1, time_unix_nano=NOW_NS)
    with pytest.raises(BodyTooLarge):
        send(metrics_request(metric).SerializeToString(), SMALL)


def test_long_labels_on_many_buckets_must_not_become_more_than_can_be_held() -> None:
    metric = Metric(name=unique("wide"))
    metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    metric.histogram.data_points.add(
        explicit_bounds=range(49),
        bucket_counts=[0] * 50,
        time_unix_nano=NOW_NS,
        attributes=key_values({"large": "x" * 4000}),
    )
    with pytest.raises(BodyTooLarge):
        send(metrics_request(metric).SerializeToString(), SMALL)


def test_too_many_buckets_quantiles_and_exemplars_are_refused_or_dropped() -> None:
    metrics = []
    for temporality in (DELTA, CUMULATIVE):
        classic, exponential = Metric(name=unique("c")), Metric(name=unique("e"))
        classic.histogram.aggregation_temporality = temporality
        classic.histogram.data_points.add(
            explicit_bounds=range(50), bucket_counts=[0] * 51, time_unix_nano=NOW_NS
        )
        exponential.exponential_histogram.aggregation_temporality = temporality
        exponential.exponential_histogram.data_points.add(
            count=51, positive=Buckets(bucket_counts=[1] * 51), time_unix_nano=NOW_NS
        )
        metrics += [classic, exponential]
    summary, examples = Metric(name=unique("s")), Metric(name=unique("g"))
    summary.summary.data_points.add(time_unix_nano=NOW_NS).quantile_values.extend([SummaryQuantile()] * 51)
    point = examples.gauge.data_points.add(as_int=1, time_unix_nano=NOW_NS)
    for _ in range(5):
        point.exemplars.add(as_int=1, time_unix_nano=NOW_NS)
    _, receiver = send(metrics_request(*metrics, summary, examples).SerializeToString(), SMALL)
    assert receiver.stats.refused == {"too_many_buckets": 5}
    assert (receiver.stats.exemplars, receiver.stats.cut) == (3, 2)
    wide = packed(12, [0] * 51) + field(11, number(2, 51)) + number(15, NOW_NS // 10**6)
    written, _ = send(series1({"__name__": unique("n")}, more=field(4, wide)), SMALL, "v1")
    assert [reason.code for reason in written.refusals.reasons] == ["too_many_buckets"]
