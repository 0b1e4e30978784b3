"""From a trace to its metrics and its log, and back by exemplars; and searching over HTTP."""

from __future__ import annotations

import json
import os
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from starlette.testclient import TestClient

from otlp_messages import attributes, metrics_request
from rushes.web.api.asked import LOG_PARAMETERS, SPAN_PARAMETERS
from telemetry_sender import S, put_series, say, send, span
from telemetry_store import NOW_NS, NOW_S, unique


@pytest.fixture(scope="module")
def trace() -> dict[str, str]:
    trace_id, model, worker = os.urandom(16), unique("MODEL"), unique("worker")
    root = span(
        trace_id, "video_generation_request", 0, 9 * S,
        attributes={"model": model, "tier": "free", "request_id": "video_1/ä"},
    )  # fmt: skip
    child = span(
        trace_id, "dit", S, S, parent_span_id=bytes.fromhex(root), attributes={"worker_id": f'{worker}"'}
    )
    name = unique("seconds")
    histogram = Metric(name=name, description="how long", unit="s")
    histogram.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    point = histogram.histogram.data_points.add(
        count=1, sum=3, bucket_counts=[0, 1], explicit_bounds=[1], time_unix_nano=NOW_NS + S,
        attributes=attributes({"model": model}),
    )  # fmt: skip
    point.exemplars.add(
        as_double=3, time_unix_nano=NOW_NS + S, trace_id=trace_id, span_id=bytes.fromhex(child)
    )
    send("metrics", metrics_request(histogram))
    gauge = unique("gauge")
    put_series(gauge, [({"worker_id": f'{worker}"'}, [(0, 1.0)]), ({"worker_id": "another"}, [(0, 2.0)])])
    say("generation.job.accepted", 1, trace_id=trace_id, request_id="video_1/ä")
    return {"id": trace_id.hex(), "model": model, "histogram": name, "gauge": gauge, "child": child}


def test_a_trace_links_to_the_metrics_around_it(client: TestClient, trace: dict[str, str]) -> None:
    links = client.get(f"/api/traces/{trace['id']}/links").json()
    metrics = {one["metric"]: one for one in links["metrics"]}
    histogram, gauge = metrics[trace["histogram"]], metrics[trace["gauge"]]
    assert (histogram["type"], histogram["help"], histogram["labels"]) == ("histogram", "how long", ["model"])
    assert f'{trace["histogram"]}_bucket{{model="{trace["model"]}"}}' in histogram["query"]
    assert gauge["labels"] == ["worker_id"]
    asked = {name: values[0] for name, values in parse_qs(urlsplit(gauge["href"]).query).items()}
    assert (asked["query"], asked["start"]) == (gauge["query"], f"{NOW_S - 300:.3f}")
    reply = client.get(gauge["href"]).json()
    assert [one["values"][0][1] for one in reply["data"]["result"]] == ["1"]
    assert client.get(histogram["href"]).json()["status"] == "success"
    for name in (f"{trace['histogram']}{part}" for part in ("_bucket", "_sum", "_count")):
        assert name not in metrics


def test_a_trace_links_to_what_was_measured_in_it(client: TestClient, trace: dict[str, str]) -> None:
    links = client.get(f"/api/traces/{trace['id']}/links").json()
    (exemplar,) = links["exemplars"]
    assert exemplar["metric"].startswith(trace["histogram"])
    assert (exemplar["value"], exemplar["timestamp"], exemplar["span_id"]) == ("3", NOW_S + 1, trace["child"])
    # and back
    for times in ({}, {"start": NOW_S, "end": NOW_S + 9}, {"start": NOW_S + 2}, {"end": NOW_S}):
        found = client.get(
            "/api/v1/query_exemplars", params={"query": f"{trace['histogram']}_bucket", **times}
        ).json()["data"]
        ids = {each["labels"]["trace_id"] for one in found for each in one["exemplars"]}
        assert ids == ({trace["id"]} if len(times) != 1 else set())


def test_a_trace_links_to_its_log_and_its_video(client: TestClient, trace: dict[str, str]) -> None:
    links = client.get(f"/api/traces/{trace['id']}/links").json()
    (line,) = client.get(links["logs"]).text.splitlines()
    assert json.loads(line)["trace_id"] == trace["id"]
    assert client.get(links["trace"]).status_code == 200
    assert links["page"] == f"/traces/{trace['id']}"
    assert links["video"] == "/videos/video_1%2F%C3%A4"
    assert client.get(f"/api/traces/{'0' * 31}1/links").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "attribute=worker_id",
        "attribute=tier=free",
        "max_duration_ms=9000",
        "order=longest",
        "start={t}&end={u}",
        "kind=",
    ],
)
def test_searching_over_http(client: TestClient, trace: dict[str, str], query: str) -> None:
    query = query.format(t=NOW_S, u="2026-01-01T00:00:09Z")
    found = client.get(f"/api/traces?model={trace['model']}&{query}").json()["traces"]
    assert [one["trace_id"] for one in found] == [trace["id"]]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("traces?order=best", "order"),
        ("traces?attribute==x", "attribute"),
        ("traces?" + "attribute=a&" * 21, "attribute"),
        ("traces?start=yesterday", "start"),
        ("traces?end=-5", "end"),
        ("traces?kind=fast", "kind"),
        ("traces?max_duration_ms=inf", "max_duration_ms"),
        ("traces?min_duration=5", "min_duration"),
        ("videos?tier=free", "tier"),
        ("logs?job=video_1", "job"),
        ("logs?min_level=loud", "min_level"),
        ("logs?span_id=12", "span_id"),
        ("logs?end=9e99", "end"),
    ],
)
def test_what_can_not_be_searched_for_is_named(client: TestClient, query: str, parameter: str) -> None:
    reply = client.get(f"/api/{query}")
    assert (reply.status_code, reply.json()["parameter"]) == (400, parameter)


_NAMES = {
    "traces": (*SPAN_PARAMETERS, "limit"),
    "logs": (*LOG_PARAMETERS, "limit"),
    "videos": ("limit", "before_ns", "model", "status"),
}
_VALUES = st.one_of(
    st.text(max_size=15), st.sampled_from(["0", "1", "9" * 19, "1e12", "a=b", "ok", "ERROR", "nan"])
)


@settings(max_examples=150)
@given(data=st.data())
def test_no_parameter_is_an_internal_error(client: TestClient, data: st.DataObject) -> None:
    paths = (*_NAMES, "videos/x", "traces/" + "0" * 32, "traces/x/links")
    path = data.draw(st.sampled_from(paths))
    names = _NAMES.get(path, ("limit",))
    params = data.draw(st.dictionaries(st.sampled_from(names), _VALUES, max_size=6))
    params = {name: text.encode("utf-8", "replace").decode() for name, text in params.items()}
    assert client.get(f"/api/{path}", params=params).status_code < 500
