"""OpenTelemetry's official Python exporters, HTTP and gRPC, packed in every way: everything arrives, whole."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    LogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otlp_messages import trace_request
from otlp_server import Heard, Served, serving, serving_grpc
from otlp_whole import as_otlp_json, flat
from rushes.ingest import Receiver
from rushes.ingest.inflate import zstd
from rushes.query import Logs, Traces
from rushes.query.log_filter import LogFilter
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.store.chdb_store import ChdbStore
from telemetry_store import NOW_NS, shared_store, unique

RESOURCE = Resource({"service.name": "exporter", "service.instance.id": "one"})
WAYS = ("http", "http+gzip", "grpc", "grpc+gzip")


class Way:
    """How exporters are made and where they send to."""

    def __init__(self, name: str, address: str, receiver: Receiver) -> None:
        self.receiver = receiver
        self._over, _, packed = name.partition("+")
        self._http: dict[str, Any] = {"compression": Compression.Gzip} if packed else {}
        self._grpc: dict[str, Any] = {
            "endpoint": address,
            "insecure": True,
            "compression": grpc.Compression.Gzip if packed else grpc.Compression.NoCompression,
        }
        self._address = address

    def spans(self) -> SpanExporter:
        if self._over == "grpc":
            return GrpcSpans(**self._grpc)
        return OTLPSpanExporter(f"{self._address}/v1/traces", **self._http)

    def logs(self) -> LogRecordExporter:
        if self._over == "grpc":
            return GrpcLogs(**self._grpc)
        return OTLPLogExporter(f"{self._address}/v1/logs", **self._http)

    def metrics(self, **preferred: Any) -> MetricExporter:
        if self._over == "grpc":
            return GrpcMetrics(**self._grpc, **preferred)
        return OTLPMetricExporter(f"{self._address}/v1/metrics", **self._http, **preferred)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    receiver = Receiver(shared_store())
    if request.param.startswith("grpc"):
        with serving_grpc(receiver) as address:
            yield Way(request.param, address, receiver)
    else:
        with serving(receiver, Heard()) as served:
            yield Way(request.param, served.url, receiver)


def test_two_thousand_spans_with_everything_on_them(way: Way, store: ChdbStore) -> None:
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(
        BatchSpanProcessor(way.spans(), max_queue_size=4096, max_export_batch_size=512)
    )
    tracer = provider.get_tracer("test", "3.1")
    attributes: dict[str, Any] = {
        "text": "é☃",
        "whole": 2**62,
        "real": 0.5,
        "round": 3.0,
        "yes": True,
        "list": ["a", "b"],
    }
    with tracer.start_as_current_span("root") as root:
        for number in range(2000):
            with tracer.start_as_current_span(
                f"step_{number % 7}", attributes={**attributes, "n": number}
            ) as span:
                span.add_event("saved", {"n": number})
    provider.shutdown()
    trace_id = f"{root.get_span_context().trace_id:032x}"
    found = [span for span in Traces(store).get(trace_id) if span.name != "root"]
    assert sorted(int(str(span.attributes["n"])) for span in found) == list(range(2000))
    for one in found:
        attributes_of: dict[str, Any] = one.attributes
        n = attributes_of["n"]
        assert attributes_of == {**attributes, "n": n}
        assert (one.name, one.events[0]["attributes"]) == (f"step_{n % 7}", {"n": n})
        assert isinstance(attributes_of["round"], float)
    assert (way.receiver.stats.spans, way.receiver.stats.refused) == (2001, {})


def test_log_records(way: Way, store: ChdbStore) -> None:
    request_id = unique("request")
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(way.logs()))
    for number in range(20):
        provider.get_logger("test").emit(
            LogRecord(
                severity_number=SeverityNumber.WARN,
                body=f"line {number}",
                attributes={"request_id": request_id, "n": number},
            )
        )
    provider.shutdown()
    found = Logs(store).search(request_id=request_id)
    assert sorted(record["context"]["message"] for record in found) == sorted(f"line {n}" for n in range(20))


@pytest.mark.parametrize("delta", [False, True])
def test_instruments_cumulative_and_delta_with_both_kinds_of_histogram(
    way: Way,
    store: ChdbStore,
    delta: bool,  # noqa: FBT001
) -> None:
    name = unique("sdk")
    preferred: dict[str, Any] = {
        "preferred_aggregation": {Histogram: ExponentialBucketHistogramAggregation()}
    }
    if delta:
        preferred["preferred_temporality"] = {
            Histogram: AggregationTemporality.DELTA,
            Counter: AggregationTemporality.DELTA,
        }
    readers: Sequence[PeriodicExportingMetricReader] = [
        PeriodicExportingMetricReader(way.metrics(**preferred), export_interval_millis=float("inf"))
    ]
    provider = MeterProvider(readers, resource=RESOURCE)
    meter = provider.get_meter("test")
    counter, histogram = meter.create_counter(f"{name}_c"), meter.create_histogram(f"{name}_h")
    for value in (1, 2):
        counter.add(value, {"tier": "free"})
        for observed in (0.0, 0.3, 1.0, 40.0):
            histogram.record(observed * value)
        assert provider.force_flush()
    provider.shutdown()
    newest = store.rows(
        "SELECT max(toUnixTimestamp64Milli(ts)) AS ms FROM samples WHERE metric = {m:String}",
        {"m": f"{name}_c"},
    )
    found = PromQL(store).instant(f"{name}_c", newest[0]["ms"] / 1000).series
    assert [(one.labels["tier"], one.values[0]) for one in found] == [("free", 3.0)]
    rows = store.rows(
        "SELECT count, sum, zero_count, arraySum(positive_counts) AS positive FROM histograms "
        "WHERE metric = {m:String} ORDER BY ts",
        {"m": f"{name}_h"},
    )
    assert (rows[-1]["count"], rows[-1]["zero_count"], rows[-1]["positive"]) == (8, 2, 6)
    assert rows[-1]["sum"] == pytest.approx(3 * 41.3)
    assert SeriesIndex(store).metadata(f"{name}_h")[f"{name}_h"].type == "histogram"
    assert way.receiver.stats.refused == {}


def test_what_the_exporters_send_is_given_back_field_by_field(way: Way, store: ChdbStore) -> None:
    """The messages that the exporters' own encoders make of the same spans and records are what comes back."""
    kept, records = InMemorySpanExporter(), InMemoryLogRecordExporter()
    resource = RESOURCE.merge(Resource({"raw": "x", "list": ["a", "b"]}, "https://example.test/resource"))
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_span_attributes=4, max_events=1))
    for exporter in (way.spans(), kept):
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("lib", "3.1", "https://example.test/scope", {"of": "scope", "n": 1})
    state = TraceState([("vendor", "value")])
    elsewhere = SpanContext(
        uuid.uuid4().int, 2**63 + 7, is_remote=True, trace_flags=TraceFlags(1), trace_state=state
    )
    links = [Link(elsewhere, {"why": 1.5})]
    with (
        tracer.start_as_current_span("root", kind=SpanKind.CONSUMER, links=links),
        tracer.start_as_current_span("child") as child,
    ):
        child.set_attributes({"a": 1, "b": 2.0, "c": True, "d": "é", "e": ["x"], "f": float("inf")})
        child.add_event("lost")
        child.add_event("kept", {"n": 3})
        child.set_status(Status(StatusCode.ERROR, "out of memory"))
    with tracer.start_as_current_span("followed", set_span_in_context(NonRecordingSpan(elsewhere))):
        pass
    provider.shutdown()
    sent = flat(as_otlp_json(encode_spans(kept.get_finished_spans())))
    traces = {one["traceId"] for one in sent}
    back = [span for trace_id in traces for span in flat(Traces(store).otlp_json(trace_id))]
    assert sorted(back, key=lambda one: str(one["spanId"])) == sent
    assert any("droppedAttributesCount" in one for one in sent), "there is something to lose"
    assert any("droppedEventsCount" in one for one in sent)

    request_id = unique("request")
    logs = LoggerProvider(resource=resource)
    for log_exporter in (way.logs(), records):
        logs.add_log_record_processor(SimpleLogRecordProcessor(log_exporter))
    bodies: list[Any] = ["text", 5, 0.25, True, b"raw", ["a", 1], {"k": [b"raw", None]}, None]
    for number, body in enumerate(bodies):
        logs.get_logger("lib", "3.1", "https://example.test/scope", {"of": "scope"}).emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.ERROR2,
                severity_text="grave",
                body=body,
                event_name="it.happened" if number % 2 else None,
                attributes={"request_id": request_id, "n": number, "raw": b"\0", "map": {"k": 1.0}},
            )
        )
    logs.shutdown()
    told = flat(as_otlp_json(encode_logs(records.get_finished_logs())))
    given = flat(Logs(store).otlp_json(LogFilter(request_id=request_id)))
    assert given == told
    assert len(told) == 8


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Receiver(shared_store(), clock_ns=lambda: NOW_NS), Heard()) as running:
        yield running


def test_zstd_over_http_as_the_collector_packs_it(served: Served, store: ChdbStore) -> None:
    """In one frame, in several, and cut off; a frame that wants more memory than decoders must have is refused."""
    ids = [bytes([n]) * 16 for n in (1, 2)]
    bodies = [trace_request(of, count=50).SerializeToString() for of in ids]
    headers = {"content-type": "application/x-protobuf", "content-encoding": "zstd"}

    def post(body: bytes) -> int:
        return httpx.post(f"{served.url}/v1/traces", content=body, headers=headers).status_code

    before = [len(Traces(store).get(of.hex())) for of in ids]
    assert post(zstd.compress(bodies[0])) == 200
    assert post(zstd.compress(bodies[1][:100]) + zstd.compress(bodies[1][100:])) == 200
    assert [len(Traces(store).get(of.hex())) for of in ids] == [n + 50 for n in before]
    assert post(zstd.compress(bodies[0])[:-3]) == 400
    assert post(b"not zstd") == 400
    assert post(zstd.compress(bytes(50 << 20))) == 413
    wide = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    noise = bytes(range(256)) * 200
    assert post(wide.compress(noise) + wide.flush()) == 400
    assert served.receiver.stats.failed == {"undecodable": 3, "too_large": 1}
