"""Jaeger's query API, asked as Grafana's Jaeger data source asks it."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from otlp_messages import attributes, trace_request
from telemetry_sender import S, send, span
from telemetry_store import NOW_NS, unique

US = 1_000
START, END = NOW_NS // US - 1_000_000, NOW_NS // US + 100_000_000


def _get(client: TestClient, path: str, **params: Any) -> Any:
    reply = client.get(f"/jaeger/api/{path}", params=params)
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert set(body) == {"data", "total", "limit", "offset", "errors"}
    return body["data"]


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    """A trace over two services: their names, and its id."""
    trace_id = os.urandom(16)
    web, work = unique("web/ä"), unique("work")
    root = span(trace_id, "POST /v1/videos", 0, 9 * S, service=web, kind=2, attributes={"http.status": 200})
    child = span(
        trace_id, "render", S, 5 * S, service=work, kind=5, parent_span_id=bytes.fromhex(root),
        status={"code": 2, "message": "out of memory"}, attributes={"model": "LTX2"},
    )  # fmt: skip
    span(trace_id, "step", 2 * S, 100_000_000, service=work, parent_span_id=bytes.fromhex(child))
    return {"web": web, "work": work, "trace": trace_id.hex(), "root": root, "child": child}


def test_services_and_their_operations(client: TestClient, names: dict[str, str]) -> None:
    services = _get(client, "services")
    assert {names["web"], names["work"]} <= set(services)
    assert services == sorted(services)
    assert _get(client, f"services/{names['work']}/operations") == ["render", "step"]
    for escaped in (quote(names["web"], safe=""), quote(quote(names["web"], safe=""), safe="")):
        assert _get(client, f"services/{escaped}/operations") == ["POST /v1/videos"]
    assert _get(client, "services/nobody/operations") == []
    assert _get(client, "operations", service=names["work"]) == [
        {"name": "render", "spanKind": "consumer"},
        {"name": "step", "spanKind": ""},
    ]
    assert _get(client, "operations", service=names["web"], spanKind="client") == []


def test_a_service_may_have_a_plus_in_its_name(client: TestClient) -> None:
    service = unique("c++/100%")
    span(os.urandom(16), "compile", 0, S, service=service)
    assert _get(client, f"services/{quote(service, safe='')}/operations") == ["compile"]
    assert _get(client, f"services/{quote(service, safe='/+')}/operations") == ["compile"]


def test_version_3_tells_of_services_operations_and_a_trace(
    client: TestClient, names: dict[str, str]
) -> None:
    def get(path: str, status: int = 200) -> Any:
        reply = client.get(f"/jaeger/api/v3/{path}")
        assert reply.status_code == status, reply.text
        return reply.json()

    assert {names["web"], names["work"]} <= set(get("services")["services"])
    assert get(f"operations?service={names['work']}&span_kind=consumer") == {
        "operations": [{"name": "render", "spanKind": "consumer"}]
    }
    found = get(f"traces/{names['trace']}?start_time=2026-01-01T00:00:00Z&end_time=2026-01-01T00:00:00Z")
    assert found["result"] == client.get(f"/api/traces/{names['trace']}").json()
    assert get("traces/abc", 404) == {"error": {"httpCode": 404, "message": "trace not found"}}
    assert get("operations", 400)["error"]["httpCode"] == 400


def test_a_trace_has_jaegers_form(client: TestClient, names: dict[str, str]) -> None:
    (trace,) = _get(client, f"traces/{names['trace']}")
    assert set(trace) == {"traceID", "spans", "processes", "warnings"}
    root, child, step = trace["spans"]
    assert root["references"] == []
    assert child["references"] == [
        {"refType": "CHILD_OF", "traceID": names["trace"], "spanID": names["root"]}
    ]
    assert (root["operationName"], root["startTime"], root["duration"]) == (
        "POST /v1/videos",
        NOW_NS // US,
        9_000_000,
    )
    assert step["duration"] == 100_000
    assert {"key": "http.status", "type": "int64", "value": 200} in root["tags"]
    tags = {tag["key"]: tag for tag in child["tags"]}
    assert tags["error"] == {"key": "error", "type": "bool", "value": True}
    assert tags["span.kind"]["value"] == "consumer"
    assert tags["otel.status_code"]["value"] == "ERROR"
    assert tags["otel.status_description"]["value"] == "out of memory"
    assert tags["otel.scope.name"]["value"] == "scope"
    services = [trace["processes"][each["processID"]]["serviceName"] for each in trace["spans"]]
    assert services == [names["web"], names["work"], names["work"]]
    assert len(trace["processes"]) == 2


def test_events_links_and_values_that_jaeger_has_no_type_for(client: TestClient) -> None:
    trace_id = os.urandom(16)
    request = trace_request(trace_id, attributes={"l": [1, "a"], "f": 0.5, "b": False})
    stored = request.resource_spans[0].scope_spans[0].spans[0]
    event = stored.events.add(name="oom", time_unix_nano=NOW_NS + 5 * US)
    event.attributes.extend(attributes({"free": 3}))
    stored.links.add(trace_id=bytes(range(1, 17)), span_id=bytes(range(1, 9)))
    send("traces", request)
    (trace,) = _get(client, f"traces/{trace_id.hex()}")
    (found,) = trace["spans"]
    assert found["logs"] == [
        {
            "timestamp": NOW_NS // US + 5,
            "fields": [
                {"key": "event", "type": "string", "value": "oom"},
                {"key": "free", "type": "int64", "value": 3},
            ],
        }
    ]
    assert found["references"] == [
        {"refType": "FOLLOWS_FROM", "traceID": bytes(range(1, 17)).hex(), "spanID": bytes(range(1, 9)).hex()}
    ]
    tags = {tag["key"]: (tag["type"], tag["value"]) for tag in found["tags"]}
    assert (tags["l"], tags["f"], tags["b"]) == (
        ("string", '[1, "a"]'),
        ("float64", 0.5),
        ("bool", False),
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, True),
        ({"operation": "render"}, True),
        ({"operation": "other"}, False),
        ({"tags": json.dumps({"model": "LTX2"})}, True),
        ({"tags": json.dumps({"model": "MOCHI1"})}, False),
        ({"tags": json.dumps({"error": "true", "span.kind": "consumer"})}, True),
        ({"tags": json.dumps({"otel.status_code": "OK"})}, False),
        ({"tag": "model:LTX2"}, True),
        ({"minDuration": "4.5s"}, True),
        ({"minDuration": "5s1us"}, False),
        ({"maxDuration": "99ms"}, False),
        ({"minDuration": "100ms", "maxDuration": "1m"}, True),
        ({"start": START + 60_000_000}, False),
        ({"end": START}, False),
        ({"limit": 1}, True),
    ],
)
def test_searching(client: TestClient, names: dict[str, str], asked: dict[str, Any], found: bool) -> None:  # noqa: FBT001
    traces = _get(client, "traces", **({"service": names["work"], "start": START, "end": END} | asked))
    assert [trace["traceID"] for trace in traces] == ([names["trace"]] if found else [])
    assert all(len(trace["spans"]) == 3 for trace in traces)  # whole, not the spans that fit alone


def test_several_traces_by_their_ids(client: TestClient, names: dict[str, str]) -> None:
    short = os.urandom(15)
    span(b"\0" + short, "x", 0, S)
    body = client.get(
        "/jaeger/api/traces", params={"traceID": [names["trace"], short.hex().lstrip("0"), "abc"]}
    ).json()
    assert [trace["traceID"] for trace in body["data"]] == [names["trace"], "00" + short.hex()]
    assert body["errors"] == [{"msg": "trace not found", "traceID": "abc".zfill(32)}]


def test_who_calls_whom(client: TestClient, names: dict[str, str]) -> None:
    asked = {"endTs": NOW_NS // 1_000_000 + 60_000, "lookback": 3_600_000, "service": names["web"]}
    assert _get(client, "dependencies", **asked) == [
        {"parent": names["web"], "child": names["work"], "callCount": 1}
    ]
    assert _get(client, "dependencies", **(asked | {"endTs": 1000})) == []


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("traces", 400, "service"),
        ("traces?service=x&start=now", 400, "start"),
        ("traces?service=x&minDuration=5", 400, "minDuration"),
        ("traces?service=x&minDuration=5s&maxDuration=1s", 400, "maxDuration"),
        ("traces?service=x&limit=many", 400, "limit"),
        ("traces?service=x&limit=0", 400, "limit"),
        ("traces?service=x&tags=model", 400, "tags"),
        ("traces?service=x&tags=[1]", 400, "tags"),
        ('traces?service=x&tags={"a":1}', 400, "tags"),
        ("traces?service=x&tag=model", 400, "tag"),
        ("traces?service=x&lookback=soon", 400, "lookback"),
        ("traces?traceID=nothex", 400, "traceID"),
        ("traces/nothex", 400, "traceID"),
        ("traces/abc", 404, "trace not found"),
        ("operations", 400, "service"),
        ("operations?service=x&spanKind=y", 400, "spanKind"),
        ("dependencies?endTs=-1", 400, "endTs"),
    ],
)
def test_errors_have_jaegers_form(client: TestClient, path: str, status: int, said: str) -> None:
    reply = client.get(f"/jaeger/api/{path}")
    assert reply.status_code == status
    body = reply.json()
    assert body["data"] is None
    assert body["errors"][0]["code"] == status
    assert said in body["errors"][0]["msg"]


_NAMES = (
    "service", "operation", "tags", "tag", "start", "end", "minDuration", "maxDuration", "limit", "lookback",
    "traceID", "endTs", "spanKind",
)  # fmt: skip


@settings(max_examples=100)
@given(
    path=st.sampled_from(("services", "operations", "traces", "dependencies", "services/x/operations")),
    params=st.dictionaries(
        st.sampled_from(_NAMES),
        st.one_of(st.text(max_size=15), st.sampled_from(["9" * 18, "0", '{"": ""}', "1h", "[" * 3000])),
        max_size=6,
    ),
)
def test_no_parameter_is_an_internal_error(client: TestClient, path: str, params: dict[str, str]) -> None:
    params = {name: text.encode("utf-8", "replace").decode() for name, text in params.items()}
    assert client.get(f"/jaeger/api/{path}", params=params).status_code < 500
