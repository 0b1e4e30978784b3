"""An OpenTelemetry Collector's JSON, as its file exporter writes it and otlphttp sends it: one request for each signal.

Written by hand from the public format: ids in hex, 64-bit integers as strings, enumerations as numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from otlp_server import Heard, Served, serving
from otlp_whole import flat
from rushes.ingest import Receiver
from rushes.query import Logs, Traces
from rushes.query.log_filter import LogFilter
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.store.chdb_store import ChdbStore
from telemetry_store import NOW_NS, NOW_S, shared_store, unique

TRACE = "5b8efff798038103d269b633813fc60c"
RESOURCE: dict[str, Any] = {
    "attributes": [
        {"key": "service.name", "value": {"stringValue": "collector"}},
        {"key": "service.instance.id", "value": {"stringValue": "i"}},
        {"key": "process.pid", "value": {"intValue": "7"}},
    ],
    "droppedAttributesCount": 0,
}
SCOPE: dict[str, Any] = {"name": "lib", "version": "1.2", "attributes": []}


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


ATTRIBUTES = [
    {"key": "text", "value": {"stringValue": "é"}},
    {"key": "empty", "value": {"stringValue": ""}},
    {"key": "whole", "value": {"intValue": "9007199254740993"}},
    {"key": "real", "value": {"doubleValue": 2}},
    {"key": "yes", "value": {"boolValue": True}},
    {"key": "no", "value": {"boolValue": False}},
    {"key": "raw", "value": {"bytesValue": "AAE="}},
    {"key": "endless", "value": {"doubleValue": "-Infinity"}},
    {"key": "none", "value": {"doubleValue": "NaN"}},
    {
        "key": "list",
        "value": {
            "arrayValue": {
                "values": [
                    {"intValue": "1"},
                    {"stringValue": "b"},
                    {"bytesValue": "AAE="},
                    {"doubleValue": 0.5},
                ]
            }
        },
    },
    {
        "key": "pairs",
        "value": {
            "kvlistValue": {
                "values": [
                    {"key": "k", "value": {"doubleValue": 0.5}},
                    {"key": "deeper", "value": {"kvlistValue": {"values": []}}},
                    {"key": "endless", "value": {"doubleValue": "Infinity"}},
                ]
            }
        },
    },
    {"key": "nothing", "value": {}},
]


def test_traces(served: Served, store: ChdbStore) -> None:
    """Every field of OTLP's, and every type of attribute wherever there are attributes."""
    trace_id = unique("")[1:].ljust(32, "a")
    span = {
        "traceId": trace_id.upper(),
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173",
        "traceState": "k=v",
        "flags": 257,
        "name": "render",
        "kind": 2,
        "startTimeUnixNano": str(NOW_NS - 3_000_000),
        "endTimeUnixNano": str(NOW_NS),
        "attributes": ATTRIBUTES,
        "droppedAttributesCount": 1,
        "events": [
            {
                "timeUnixNano": str(NOW_NS),
                "name": "saved",
                "attributes": ATTRIBUTES,
                "droppedAttributesCount": 2,
            },
            {"timeUnixNano": "0", "name": ""},
        ],
        "droppedEventsCount": 3,
        "links": [
            {
                "traceId": TRACE,
                "spanId": "00f067aa0ba902b7",
                "traceState": "a=b",
                "attributes": ATTRIBUTES,
                "droppedAttributesCount": 4,
                "flags": 256,
            }
        ],
        "droppedLinksCount": 5,
        "status": {"message": "broken", "code": 2},
    }
    plain = {
        "traceId": trace_id,
        "spanId": "aaa19b7ec3c1b174",
        "name": "plain",
        "startTimeUnixNano": str(NOW_NS - 2_000_000),
        "endTimeUnixNano": str(NOW_NS),
        "status": {},
    }
    resource = RESOURCE | {"attributes": [*RESOURCE["attributes"], *ATTRIBUTES], "droppedAttributesCount": 6}
    scope = SCOPE | {"attributes": ATTRIBUTES, "droppedAttributesCount": 7}
    line = {
        "resourceSpans": [
            {
                "resource": resource,
                "schemaUrl": "https://example.test/resource/1.2",
                "scopeSpans": [
                    {"scope": scope, "spans": [span], "schemaUrl": "https://example.test/scope/1.3"},
                    {"scope": SCOPE, "spans": [plain], "schemaUrl": ""},
                ],
            },
        ]
    }
    post(served, "traces", json.dumps(line))
    assert flat(Traces(store).otlp_json(trace_id)) == flat(line)
    found = next(one for one in Traces(store).get(trace_id) if one.name == "render")
    assert (found.attributes["raw"], found.attributes["none"]) == ("AAE=", "nan"), "to be searched and shown"
    assert served.receiver.stats.cut == 0


def test_metrics(served: Served, store: ChdbStore) -> None:
    name = unique("collector")
    point: dict[str, Any] = {
        "startTimeUnixNano": str(NOW_NS - 10**9),
        "timeUnixNano": str(NOW_NS),
        "attributes": [
            {"key": "model", "value": {"stringValue": "é"}},
            {"key": "gpu.index", "value": {"intValue": "3"}},
            {"key": "raw", "value": {"bytesValue": "AAE="}},
        ],
        "exemplars": [
            {
                "timeUnixNano": str(NOW_NS),
                "asDouble": 1.25,
                "traceId": TRACE.upper(),
                "spanId": "00f067aa0ba902b7",
                "filteredAttributes": [{"key": "user", "value": {"stringValue": "u"}}],
            }
        ],
    }
    labels = {"model": "é", "gpu_index": "3", "raw": "AAE=", "job": "collector", "instance": "i"}
    metrics = [
        {
            "name": f"{name}_gauge",
            "description": "what it is",
            "unit": "ms",
            "gauge": {"dataPoints": [point | {"asDouble": 1.5}]},
        },
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
    found = {}
    for one in PromQL(store).instant(f'{{__name__=~"{name}_(gauge|sum|hist.*|summ.*)"}}', NOW_S).series:
        own = one.labels.pop("le", "") or one.labels.pop("quantile", "")
        found[one.labels.pop("__name__"), own] = one.values[0]
        assert one.labels == labels
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
    about = SeriesIndex(store)
    for kind, expected in (
        ("gauge", "gauge"),
        ("sum", "counter"),
        ("histogram", "histogram"),
        ("summary", "summary"),
    ):
        assert about.metadata(f"{name}_{kind}")[f"{name}_{kind}"].type == expected
    told = about.metadata(f"{name}_gauge")[f"{name}_gauge"]
    assert (told.help, told.unit) == ("what it is", "ms")
    for metric in ("gauge", "sum", "histogram_bucket", "exponential"):
        (of,) = about.exemplars(f"{name}_{metric}", NOW_S - 1, NOW_S + 1)
        assert of.exemplars[0].value == 1.25
        assert of.exemplars[0].labels == {"trace_id": TRACE, "span_id": "00f067aa0ba902b7", "user": "u"}
    asked = f'target_info{{job="collector", instance="i"}} and on (instance) {name}_gauge'
    (target,) = PromQL(store).instant(asked, NOW_S).series
    assert target.labels["process_pid"] == "7"


BODIES: list[dict[str, Any]] = [
    {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}},
    {"arrayValue": {"values": [{"bytesValue": "AAE="}]}},
    {"bytesValue": "AAE="},
    {"intValue": "7"},
    {"doubleValue": "NaN"},
    {"boolValue": False},
    {"stringValue": ""},
    {"stringValue": "a sentence"},
]


def test_logs(served: Served, store: ChdbStore) -> None:
    request_id = unique("request")
    own = [
        {"key": "request_id", "value": {"stringValue": request_id}},
        {"key": "event", "value": {"stringValue": "it.happened"}},
        {"key": "component", "value": {"intValue": "5"}},
        {"key": "worker_id", "value": {}},
    ]
    records: list[dict[str, Any]] = [
        {
            "timeUnixNano": str(NOW_NS + number),
            "observedTimeUnixNano": str(NOW_NS + 1000),
            "severityNumber": 18,
            "severityText": "Informational",
            "body": body,
            "attributes": [*own, *ATTRIBUTES],
            "droppedAttributesCount": 1,
            "flags": 1,
            "traceId": TRACE,
            "spanId": "00f067aa0ba902b7",
            "eventName": "named.otherwise",
        }
        for number, body in enumerate(BODIES)
    ]
    records.append(
        {
            "timeUnixNano": "0",
            "observedTimeUnixNano": str(NOW_NS),
            "eventName": "named",
            "attributes": own[:1],
            "spanId": "10f067aa0ba902b7",
        }
    )
    scope = SCOPE | {"attributes": ATTRIBUTES, "droppedAttributesCount": 7}
    line = {
        "resourceLogs": [
            {
                "resource": RESOURCE | {"droppedAttributesCount": 6},
                "schemaUrl": "https://example.test/resource/1.2",
                "scopeLogs": [
                    {"scope": scope, "logRecords": records, "schemaUrl": "https://example.test/scope/1.3"}
                ],
            }
        ]
    }
    post(served, "logs", json.dumps(line))
    assert flat(Logs(store).otlp_json(LogFilter(request_id=request_id))) == flat(line)
    found = Logs(store).search(request_id=request_id)
    said = sorted((one["event"], one["level"]) for one in found)
    assert said == [("it.happened", "ERROR")] * 8 + [("named", "INFO")], "the number counts, not the text"


def test_a_body_that_is_a_map_or_a_list_is_one_in_the_log(served: Served, store: ChdbStore) -> None:
    request_id = unique("request")
    record = {
        "timeUnixNano": str(NOW_NS),
        "attributes": [{"key": "request_id", "value": {"stringValue": request_id}}],
    }
    for body in (*BODIES[:2], {"stringValue": "[no list"}):
        line = {
            "resourceLogs": [
                {
                    "resource": RESOURCE,
                    "scopeLogs": [{"scope": SCOPE, "logRecords": [record | {"body": body}]}],
                }
            ]
        }
        post(served, "logs", json.dumps(line))
    found = [one["context"]["message"] for one in Logs(store).search(request_id=request_id)]
    assert sorted(found, key=str) == [["AAE="], "[no list", {"a": 1}]


def test_an_id_that_is_no_hex_costs_only_the_span_that_has_it(served: Served, store: ChdbStore) -> None:
    trace_id = unique("")[1:].ljust(32, "b")
    good = {
        "traceId": trace_id,
        "spanId": "eee19b7ec3c1b174",
        "name": "good",
        "startTimeUnixNano": str(NOW_NS - 1),
        "endTimeUnixNano": str(NOW_NS),
        "links": [{"traceId": "zz", "spanId": "eee19b7ec3c1b174"}],
    }
    spans = [
        good,
        good | {"traceId": "not hex"},
        good | {"traceId": 7},
        good | {"spanId": "eee"},
        good | {"parentSpanId": "xyz"},
        good | {"parentSpanId": None, "spanId": "fff19b7ec3c1b174"},
    ]
    line = {"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"scope": SCOPE, "spans": spans}]}]}
    reply = httpx.post(f"{served.url}/v1/traces", json=line)
    assert reply.status_code == 200
    partial = reply.json()["partialSuccess"]
    assert partial["rejectedSpans"] == "4"
    assert "2 spans refused: trace id" in partial["errorMessage"]
    assert served.receiver.stats.refused == {"bad_trace_id": 2, "bad_span_id": 2}
    found = Traces(store).get(trace_id)
    assert {one.span_id for one in found} == {"eee19b7ec3c1b174", "fff19b7ec3c1b174"}
    assert [one.links for one in found] == [[], []], "a link that leads nowhere is none"
