"""An OpenTelemetry Collector's JSON, as its file exporter writes it: one request a line, for each signal.

Written by hand from the public format: ids in hex, 64-bit integers as strings, enumerations as numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from otlp_server import Heard, Served, serving
from rushes.ingest import Receiver
from rushes.query import Logs, Traces
from rushes.query.promql import PromQL
from rushes.store.chdb_store import ChdbStore
from telemetry_store import NOW_NS, NOW_S, shared_store, unique

TRACE = "5b8efff798038103d269b633813fc60c"
RESOURCE = {
    "attributes": [
        {"key": "service.name", "value": {"stringValue": "collector"}},
        {"key": "service.instance.id", "value": {"stringValue": "i"}},
        {"key": "process.pid", "value": {"intValue": "7"}},
    ],
    "droppedAttributesCount": 0,
}
SCOPE = {"name": "lib", "version": "1.2", "attributes": []}


@pytest.fixture
def served() -> Iterator[Served]:
    heard = Heard()
    with serving(Receiver(shared_store(), clock_ns=lambda: NOW_NS), heard) as running:
        yield running


def post(served: Served, signal: str, line: str) -> None:
    reply = httpx.post(
        f"{served.url}/v1/{signal}", content=line, headers={"content-type": "application/json"}
    )
    assert (reply.status_code, reply.json()) == (200, {})


def test_traces(served: Served, store: ChdbStore) -> None:
    trace_id = unique("")[1:].ljust(32, "a")
    span = {
        "traceId": trace_id.upper(),
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "",
        "traceState": "k=v",
        "flags": 256,
        "name": "render",
        "kind": 2,
        "startTimeUnixNano": str(NOW_NS - 3_000_000),
        "endTimeUnixNano": str(NOW_NS),
        "attributes": [
            {"key": "text", "value": {"stringValue": "é"}},
            {"key": "whole", "value": {"intValue": "9007199254740993"}},
            {"key": "real", "value": {"doubleValue": 2}},
            {"key": "yes", "value": {"boolValue": True}},
            {"key": "raw", "value": {"bytesValue": "AAE="}},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "b"}]}}},
            {
                "key": "pairs",
                "value": {"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": 0.5}}]}},
            },
            {"key": "nothing", "value": {}},
        ],
        "events": [
            {
                "timeUnixNano": str(NOW_NS),
                "name": "saved",
                "attributes": [{"key": "n", "value": {"intValue": "1"}}],
            }
        ],
        "links": [{"traceId": TRACE, "spanId": "00f067aa0ba902b7", "traceState": "", "attributes": []}],
        "status": {"message": "broken", "code": 2},
    }
    line = {
        "resourceSpans": [
            {"resource": RESOURCE, "scopeSpans": [{"scope": SCOPE, "spans": [span], "schemaUrl": ""}]}
        ]
    }
    post(served, "traces", json.dumps(line))
    (found,) = Traces(store).get(trace_id)
    assert found.attributes == {
        "text": "é",
        "whole": 9007199254740993,
        "real": 2.0,
        "yes": True,
        "raw": "AAE=",
        "list": [1, "b"],
        "pairs": {"k": 0.5},
        "nothing": None,
    }
    assert isinstance(found.attributes["real"], float), "a double stays one"
    assert (found.kind, found.status, found.status_message, found.duration_ns) == (
        "server",
        "error",
        "broken",
        3_000_000,
    )
    assert found.resource == {"service.name": "collector", "service.instance.id": "i", "process.pid": 7}
    assert [(event["name"], event["attributes"]) for event in found.events] == [("saved", {"n": 1})]
    back = Traces(store).otlp_json(trace_id)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert (back["links"][0]["traceId"], back["traceState"]) == (TRACE, "k=v")


def test_metrics(served: Served, store: ChdbStore) -> None:
    name = unique("collector")
    point: dict[str, Any] = {
        "startTimeUnixNano": str(NOW_NS - 10**9),
        "timeUnixNano": str(NOW_NS),
        "attributes": [],
    }
    metrics = [
        {"name": f"{name}_gauge", "gauge": {"dataPoints": [point | {"asDouble": 1.5}]}},
        {
            "name": f"{name}_sum",
            "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point | {"asInt": "7"}]},
        },
        {
            "name": f"{name}_histogram",
            "histogram": {
                "aggregationTemporality": 2,
                "dataPoints": [
                    point
                    | {
                        "count": "3",
                        "sum": 4,
                        "bucketCounts": ["1", "2"],
                        "explicitBounds": [0.5],
                        "min": 0,
                        "max": 2,
                    }
                ],
            },
        },
        {
            "name": f"{name}_exponential",
            "exponentialHistogram": {
                "aggregationTemporality": 2,
                "dataPoints": [
                    point
                    | {
                        "count": "3",
                        "sum": 4,
                        "scale": 2,
                        "zeroCount": "0",
                        "positive": {"offset": 1, "bucketCounts": ["1", "0", "2"]},
                        "negative": {"bucketCounts": []},
                    }
                ],
            },
        },
        {
            "name": f"{name}_summary",
            "summary": {
                "dataPoints": [
                    point | {"count": "2", "sum": 3, "quantileValues": [{"quantile": 0.5, "value": 1}]}
                ]
            },
        },
    ]
    line = {
        "resourceMetrics": [{"resource": RESOURCE, "scopeMetrics": [{"scope": SCOPE, "metrics": metrics}]}]
    }
    post(served, "metrics", json.dumps(line))
    found = {
        (one.labels.pop("__name__"), one.labels.get("le", one.labels.get("quantile", ""))): one.values[0]
        for one in PromQL(store).instant(f'{{__name__=~"{name}_(gauge|sum|hist.*|summ.*)"}}', NOW_S).series
    }
    assert found == {
        (f"{name}_gauge", ""): 1.5,
        (f"{name}_sum", ""): 7,
        (f"{name}_histogram_bucket", "0.5"): 1,
        (f"{name}_histogram_bucket", "+Inf"): 3,
        (f"{name}_histogram_count", ""): 3,
        (f"{name}_histogram_sum", ""): 4,
        (f"{name}_summary", "0.5"): 1,
        (f"{name}_summary_count", ""): 2,
        (f"{name}_summary_sum", ""): 3,
    }
    (row,) = store.rows(
        "SELECT schema, positive_indices, positive_counts FROM histograms WHERE metric = {m:String}",
        {"m": f"{name}_exponential"},
    )
    assert row == {"schema": 2, "positive_indices": [2, 4], "positive_counts": [1.0, 2.0]}


def test_logs(served: Served, store: ChdbStore) -> None:
    request_id = unique("request")
    record = {
        "timeUnixNano": "0",
        "observedTimeUnixNano": str(NOW_NS),
        "severityNumber": 17,
        "severityText": "",
        "body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}},
        "attributes": [{"key": "request_id", "value": {"stringValue": request_id}}],
        "droppedAttributesCount": 0,
        "traceId": TRACE,
        "spanId": "00f067aa0ba902b7",
    }
    line = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"scope": SCOPE, "logRecords": [record]}]}]}
    post(served, "logs", json.dumps(line))
    (found,) = Logs(store).search(request_id=request_id)
    assert (found["level"], found["service"], found["trace_id"]) == ("ERROR", "collector", TRACE)
    assert found["context"]["message"] == '{"a":1}'
