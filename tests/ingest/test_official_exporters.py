"""OpenTelemetry's own exporters and stubs against the receiver: what they send is what can be read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any, cast

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # no stubs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from otlp_messages import logs_request, metrics_request, trace_request
from otlp_server import Heard, Served, serving
from rushes.ingest import Limits, Receiver
from rushes.ingest import grpc as otlp_grpc
from rushes.query import Logs, Traces
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.store.chdb_store import ChdbStore
from rushes.store.interface import Store, StoreUnavailable
from telemetry_store import NOW_NS, shared_store, unique

RESOURCE = Resource({"service.name": "exporter", "service.instance.id": "one", "process.pid": 42})


@pytest.fixture
def live(store: ChdbStore) -> Iterator[Served]:
    """A server that lives in the present, as the SDK's own clocks do."""
    heard = Heard()
    with serving(Receiver(store, on_ingest=heard), heard) as running:
        yield running


def test_spans_of_the_sdk_come_back_whole(live: Served, store: ChdbStore) -> None:
    exporter = OTLPSpanExporter(f"{live.url}/v1/traces", compression=Compression.Gzip)
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test", "3.1")
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as root:
        root.set_attributes(
            {"text": "é☃", "whole": 2**62, "real": 0.1, "yes": True, "list": [1, 2], "bad": float("nan")}
        )
        with tracer.start_as_current_span("child") as child:
            child.add_event("saved", {"step": 3})
            child.set_status(Status(StatusCode.ERROR, "out of memory"))
    provider.shutdown()
    trace_id = f"{root.get_span_context().trace_id:032x}"
    first, second = Traces(store).get(trace_id)
    assert (first.name, first.kind, first.service, first.parent_span_id) == ("root", "server", "exporter", "")
    assert first.attributes == {
        "text": "é☃",
        "whole": 2**62,
        "real": 0.1,
        "yes": True,
        "list": [1, 2],
        "bad": "nan",
    }
    assert first.resource["process.pid"] == 42
    assert (second.parent_span_id, second.status) == (first.span_id, "error")
    assert second.status_message == "out of memory"
    assert [(event["name"], event["attributes"]) for event in second.events] == [("saved", {"step": 3})]
    assert (Traces(store).otlp_json(trace_id)["resourceSpans"][0]["scopeSpans"][0]["scope"]) == {
        "name": "test",
        "version": "3.1",
    }


def test_metrics_of_the_sdk_keep_names_buckets_and_exemplars(live: Served, store: ChdbStore) -> None:
    name = unique("step_duration_ms")
    exporter = OTLPMetricExporter(f"{live.url}/v1/metrics", compression=Compression.Gzip)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    provider = MeterProvider([reader], resource=RESOURCE)
    meter = provider.get_meter("test")
    with TracerProvider().get_tracer("test").start_as_current_span("measured") as span:
        meter.create_histogram(name, "ms", "time", explicit_bucket_boundaries_advisory=[0.5, 10]).record(
            3, {"model": "MOCHI1"}
        )
    meter.create_counter(f"{name}_count_c", "1").add(2, {"tier": "free"})
    assert provider.force_flush()
    provider.shutdown()
    newest = store.rows(
        "SELECT max(toUnixTimestamp64Milli(ts)) AS ms FROM samples WHERE metric = {m:String}",
        {"m": f"{name}_bucket"},
    )[0]["ms"]
    found = PromQL(store).instant(f'{name}_bucket{{model="MOCHI1"}}', newest / 1000).series
    assert {one.labels["le"]: one.values[0] for one in found} == {"0.5": 0, "10": 1, "+Inf": 1}
    assert PromQL(store).instant(f"{name}_count_c", newest / 1000).series[0].values == [2]
    (series,) = SeriesIndex(store).exemplars(f"{name}_bucket", newest / 1000 - 60, newest / 1000 + 60)
    assert series.labels["le"] == "10"
    assert series.exemplars[0].labels["trace_id"] == f"{span.get_span_context().trace_id:032x}"


def test_log_records_of_the_sdk(live: Served, store: ChdbStore) -> None:
    request_id = unique("request")
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{live.url}/v1/logs")))
    provider.get_logger("test").emit(
        LogRecord(
            severity_number=SeverityNumber.ERROR,
            body="a foreign sentence",
            attributes={"request_id": request_id, "n": 1},
        )
    )
    provider.shutdown()
    (record,) = Logs(store).search(request_id=request_id)
    assert (record["level"], record["event"]) == ("ERROR", "")
    assert record["context"] == {"message": "a foreign sentence", "n": 1}


def _over_grpc(
    receiver: Receiver, calls: list[tuple[type, object]], token: str | None = None
) -> list[object]:
    """Replies, or the status codes of errors, of calls over a real channel."""

    async def run() -> list[object]:
        server, port = await otlp_grpc.serve(receiver, "127.0.0.1:0", token=token)
        replies: list[object] = []
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", compression=grpc.Compression.Gzip
        ) as channel:
            for stub, request in calls:
                metadata = (("authorization", "Bearer right"),) if token == "right" else ()
                try:
                    replies.append(await stub(channel).Export(request, metadata=metadata))
                except grpc.aio.AioRpcError as error:
                    replies.append(error.code())
        await server.stop(None)
        return replies

    return asyncio.run(run())


def test_the_three_grpc_services(store: ChdbStore) -> None:
    receiver = Receiver(store, clock_ns=lambda: NOW_NS)
    trace_id = os.urandom(16)
    replies = _over_grpc(
        receiver,
        [
            (TraceServiceStub, trace_request(trace_id)),
            (LogsServiceStub, logs_request()),
            (MetricsServiceStub, metrics_request()),
        ],
    )
    assert not any(isinstance(reply, grpc.StatusCode) for reply in replies)
    assert len(Traces(store).get(trace_id.hex())) == 1
    receiver.close()


def test_grpc_limits_sizes_after_inflation_and_says_when_the_store_is_away(store: ChdbStore) -> None:
    small = Receiver(store, limits=Limits(body_bytes=10_000, pending=0), clock_ns=lambda: NOW_NS)
    huge = trace_request(attributes={"a": "x" * 1_000_000})
    assert _over_grpc(small, [(TraceServiceStub, huge), (TraceServiceStub, trace_request())]) == [
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ]
    assert small.stats.failed == {"not_received": 1, "overloaded": 1}
    small.close()


def test_a_grpc_call_without_a_message_is_refused(store: ChdbStore) -> None:
    receiver = Receiver(store, clock_ns=lambda: NOW_NS)

    async def call() -> grpc.StatusCode:
        server, port = await otlp_grpc.serve(receiver, "127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            call = channel.stream_unary(method)()
            await call.done_writing()
            code: grpc.StatusCode = await call.code()
        await server.stop(None)
        return code

    assert asyncio.run(call()) == grpc.StatusCode.INVALID_ARGUMENT
    receiver.close()


def test_grpc_wants_its_token(store: ChdbStore) -> None:
    receiver = Receiver(store, clock_ns=lambda: NOW_NS)
    assert _over_grpc(receiver, [(LogsServiceStub, logs_request())], token="other") == [
        grpc.StatusCode.UNAUTHENTICATED
    ]
    (reply,) = _over_grpc(receiver, [(LogsServiceStub, logs_request())], token="right")
    assert not isinstance(reply, grpc.StatusCode)
    receiver.close()


def test_grpc_says_when_to_come_back(store: ChdbStore) -> None:
    """So that clients wait as long as they are asked to: too much at once, and a store that is away."""

    async def details(receiver: Receiver) -> tuple[grpc.StatusCode, RetryInfo]:
        server, port = await otlp_grpc.serve(receiver, "127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                await LogsServiceStub(channel).Export(logs_request())
            except grpc.aio.AioRpcError as error:
                trailers = dict(error.trailing_metadata() or ())
                status = RpcStatus.FromString(trailers["grpc-status-details-bin"])
                info = RetryInfo()
                assert status.details[0].Unpack(info)
                return error.code(), info
            finally:
                await server.stop(None)
        raise AssertionError("the call was taken")

    for broken, code in (
        (Receiver(store, limits=Limits(pending=0)), "RESOURCE_EXHAUSTED"),
        (_away(), "UNAVAILABLE"),
    ):
        found, info = asyncio.run(details(broken))
        assert (found.name, info.retry_delay.seconds > 0) == (code, True)
        broken.close()


def _away() -> Receiver:
    class Away:
        retention_s = 1000

        def insert(self, table: str, rows: Any) -> None:
            raise StoreUnavailable("no space left")

        def query(self, *of: Any, **more: Any) -> Any:
            return shared_store().query(*of, **more)

    return Receiver(cast("Store", Away()), clock_ns=lambda: NOW_NS)
