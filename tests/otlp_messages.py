"""OTLP messages for tests."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from telemetry_store import NOW_NS

__all__ = ["attributes", "logs_request", "metrics_request", "trace_request", "value"]


def value(of: Any) -> AnyValue:
    found = AnyValue()
    match of:
        case None:
            pass
        case bool():
            found.bool_value = of
        case int():
            found.int_value = of
        case float():
            found.double_value = of
        case bytes():
            found.bytes_value = of
        case list():
            found.array_value.values.extend(value(item) for item in of)
        case dict():
            found.kvlist_value.values.extend(attributes(of))
        case _:
            found.string_value = of
    return found


def attributes(of: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value(each)) for key, each in of.items()]


def resource(service: str = "svc", **more: Any) -> Resource:
    return Resource(attributes=attributes({"service.name": service, **more}))


def trace_request(trace_id: bytes | None = None, count: int = 1, **span: Any) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add(resource=resource())
    scope = of_resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "scope", "1.2"
    for _ in range(count):
        fields: dict[str, Any] = {
            "trace_id": trace_id or os.urandom(16),
            "span_id": os.urandom(8),
            "name": "work",
            "start_time_unix_nano": NOW_NS - 1_000_000,
            "end_time_unix_nano": NOW_NS,
        } | span
        fields["attributes"] = attributes(fields.get("attributes", {}))
        scope.spans.add(**fields)
    return request


def logs_request(service: str = "svc", **record: Any) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add(resource=resource(service)).scope_logs.add()
    fields: dict[str, Any] = {
        "time_unix_nano": NOW_NS,
        "severity_number": 9,
        "severity_text": "INFO",
    } | record
    fields["attributes"] = attributes(fields.get("attributes", {}))
    fields["body"] = value(fields.get("body", "a sentence"))
    scope.log_records.add(**fields)
    return request


def metrics_request(*metrics: Metric, **more: Any) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add(
        resource=resource("svc", **({"service.instance.id": "i1"} | more))
    ).scope_metrics.add()
    scope.metrics.extend(metrics)
    return request
