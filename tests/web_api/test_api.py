"""The HTTP API: Prometheus' reply format, traces, logs and videos, and errors that name what was wrong."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from starlette.applications import Starlette
from starlette.testclient import TestClient

from otlp_messages import attributes, logs_request, metrics_request, trace_request
from rushes.query import Readers
from rushes.web.api import routes
from rushes.web.api.numbers import duration, go_duration, moment, number, stamp
from telemetry_sender import send
from telemetry_store import NOW_NS, NOW_S, shared_store, unique


@pytest.fixture(scope="module")
def metric() -> str:
    name = unique("api")
    of = Metric(name=name, description="help", unit="ms")
    of.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    of.sum.is_monotonic = True
    for tier, value in (("free", 1.5), ("premium", 2.0)):
        point = of.sum.data_points.add(
            as_double=value, time_unix_nano=NOW_NS, attributes=attributes({"tier": tier})
        )
        point.exemplars.add(
            as_double=value, time_unix_nano=NOW_NS, trace_id=bytes(range(1, 17)), span_id=bytes(range(1, 9))
        )
    send("metrics", metrics_request(of))
    return name


def test_instant_queries(client: TestClient, metric: str) -> None:
    query = {"query": f'{metric}{{tier="free"}}', "time": str(NOW_S + 1.5)}
    expected = {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [
                {
                    "metric": {"__name__": metric, "tier": "free", "job": "svc", "instance": "i1"},
                    "value": [NOW_S + 1.5, "1.5"],
                }
            ],
        },
    }
    assert client.get("/api/v1/query", params=query).json() == expected
    assert client.post("/api/v1/query", data=query).json() == expected
    scalar = client.get("/api/v1/query", params={"query": "1/0", "time": NOW_S}).json()
    assert scalar["data"] == {"resultType": "scalar", "result": [NOW_S, "+Inf"]}


def test_range_queries(client: TestClient, metric: str) -> None:
    asked: dict[str, str | int] = {
        "query": f"sum({metric})",
        "start": "2026-01-01T00:00:00Z",
        "end": NOW_S + 30,
        "step": "15s",
    }
    reply = client.get("/api/v1/query_range", params=asked)
    values = [[NOW_S, "3.5"], [NOW_S + 15, "3.5"], [NOW_S + 30, "3.5"]]
    assert reply.json()["data"] == {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}


def test_series_labels_and_metadata(client: TestClient, metric: str) -> None:
    match = {"match[]": metric}
    series = client.get("/api/v1/series", params=match).json()["data"]
    assert [one["tier"] for one in series] == ["free", "premium"]
    assert client.get("/api/v1/labels", params=match).json()["data"] == [
        "__name__",
        "instance",
        "job",
        "tier",
    ]
    assert client.get("/api/v1/label/tier/values", params=match).json()["data"] == ["free", "premium"]
    assert metric in client.get("/api/v1/label/__name__/values").json()["data"]
    about = client.get("/api/v1/metadata", params={"metric": metric}).json()["data"]
    assert about == {metric: [{"type": "counter", "help": "help", "unit": "ms"}]}
    exemplars = client.get(
        "/api/v1/query_exemplars", params={"query": f"rate({metric}[1m])", "start": NOW_S, "end": NOW_S + 1}
    ).json()["data"]
    assert [one["exemplars"][0]["value"] for one in exemplars] == ["1.5", "2"]
    assert exemplars[0]["exemplars"][0]["labels"]["trace_id"] == bytes(range(1, 17)).hex()
    assert client.get("/api/v1/status/buildinfo").json()["data"]["revision"] == "rushes-1.2"
    assert client.get("/api/v1/rules").json()["data"] == {"groups": []}
    assert client.get("/api/v1/alerts").json()["data"] == {"alerts": []}


@pytest.mark.parametrize(
    ("path", "params", "expected", "named"),
    [
        ("query", {}, (400, "bad_data"), "query"),
        ("query", {"query": "sum("}, (400, "bad_data"), "query"),
        ("query", {"query": "1", "time": "tomorrow"}, (400, "bad_data"), "tomorrow"),
        ("query", {"query": "1", "time": "NaN"}, (400, "bad_data"), "NaN"),
        ("query_range", {"query": "1", "start": "0", "end": "1"}, (400, "bad_data"), "step"),
        (
            "query_range",
            {"query": "1", "start": "0", "end": "9", "step": "1parsec"},
            (400, "bad_data"),
            "1parsec",
        ),
        (
            "query_range",
            {"query": "1", "start": "0", "end": "99999", "step": "1"},
            (400, "bad_data"),
            "11,000",
        ),
        ("series", {}, (400, "bad_data"), "match[]"),
        ("series", {"match[]": "sum(x)"}, (400, "bad_data"), '1:4: parse error: unexpected "("'),
        ("labels", {"limit": "-1"}, (400, "bad_data"), "limit"),
        ("query", {"query": 'label_replace(vector(1), "", "", "", "")'}, (422, "execution"), "label"),
    ],
)
def test_errors_are_prometheus_own(
    client: TestClient, path: str, params: dict[str, str], expected: tuple[int, str], named: str
) -> None:
    reply = client.get(f"/api/v1/{path}", params=params)
    body = reply.json()
    assert (reply.status_code, body["errorType"]) == expected
    assert body["status"] == "error"
    assert named in body["error"]


def test_traces(client: TestClient) -> None:
    trace_id, name = os.urandom(16), unique("span")
    send("traces", trace_request(trace_id, name=name, attributes={"n": 3}))
    body = client.get(f"/api/traces/{trace_id.hex()}").json()
    (span,) = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (span["traceId"], span["name"]) == (trace_id.hex(), name)
    assert span["attributes"] == [{"key": "n", "value": {"intValue": "3"}}]
    (found,) = client.get("/api/traces", params={"name": name, "min_duration_ms": "0.5"}).json()["traces"]
    assert (found["trace_id"], found["root_name"], found["span_count"]) == (trace_id.hex(), name, 1)
    assert client.get("/api/traces", params={"name": name, "status": "error"}).json() == {"traces": []}
    assert client.get(f"/api/traces/{'0' * 31}1").status_code == 404


def test_logs_are_json_lines(client: TestClient) -> None:
    request_id = unique("req")
    fields = {"event": "generation.job.accepted", "request_id": request_id, "model": "LTX2"}
    send("logs", logs_request(attributes=fields))
    reply = client.get("/api/logs", params={"q": "ltx2", "request_id": request_id})
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    (line,) = reply.text.splitlines()
    assert json.loads(line)["context"] == {"message": "a sentence", "model": "LTX2"}
    video = client.get(f"/api/videos/{request_id}").json()
    assert (video["request_id"], video["status"], video["step"]) == (request_id, "queued", None)
    listed = client.get("/api/videos", params={"limit": "1000", "model": "LTX2"}).json()["videos"]
    assert request_id in [one["request_id"] for one in listed]
    assert client.get("/api/videos/nobody").status_code == 404


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/api/traces/nothex", "trace_id", "nothex"),
        ("/api/traces?limit=0", "limit", "0"),
        ("/api/traces?limit=many", "limit", "many"),
        ("/api/traces?min_duration_ms=-1", "min_duration_ms", "-1"),
        ("/api/traces?min_duration_ms=nan", "min_duration_ms", "nan"),
        (f"/api/traces?min_duration_ms={'9' * 400}", "min_duration_ms", "9" * 200),
        (f"/api/videos?before_ns={'9' * 5000}", "before_ns", "9" * 200),
        ("/api/traces?status=bad", "status", "bad"),
        ("/api/logs?trace_id=xyz", "trace_id", "xyz"),
        ("/api/logs?limit=100000", "limit", "100000"),
        ("/api/videos?status=lost", "status", "lost"),
        ("/api/videos?before_ns=1.5", "before_ns", "1.5"),
    ],
)
def test_bad_parameters_are_named_with_their_value(
    client: TestClient, path: str, name: str, value: str
) -> None:
    reply = client.get(path)
    assert reply.status_code == 400
    assert (reply.json()["parameter"], reply.json()["value"]) == (name, value)
    assert name in reply.json()["error"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (0.1, "0.1"), (-2.5, "-2.5"), (1e-7, "1e-07"), (1e21, "1e+21"), (1e20, "100000000000000000000"),
        (0.00001, "0.00001"), (float("nan"), "NaN"), (float("-inf"), "-Inf"), (-0.0, "-0"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_prometheus_writes_them(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(allow_nan=False))
def test_numbers_read_back_as_themselves(value: float) -> None:
    assert float(number(value)) == value


def test_times_and_durations() -> None:
    assert moment("1.5") == 1.5
    assert moment("1970-01-01T00:01:00+00:00") == 60
    assert [duration(text) for text in ("15", "1m30s", "500ms", "1h", "-2")] == [15, 90, 0.5, 3600, -2]
    for text in ("", "inf", "1x", "m", "30s1m", "1e300", "1_0", " 1"):
        with pytest.raises(ValueError, match="duration"):
            duration(text)
    for text in ("", "NaN", "1_0", "2026-01-01", "2026-13-01T00:00:00Z", "20260101T000000Z", "1e300"):
        with pytest.raises(ValueError, match="timestamp"):
            moment(text)
    assert [go_duration(text) for text in ("100ms", "1.5s", "1h2m", "7us", "7\u00b5s", "0")] == [
        1e8, 1.5e9, 3.72e12, 7e3, 7e3, 0,
    ]  # fmt: skip
    for text in ("", "5", "s", "-1s", "1s 2s", "9999999999h"):
        with pytest.raises(ValueError, match="duration"):
            go_duration(text)
    assert [stamp(at) for at in (5, 1.5, -1.5, 1767225600.001, 0.0004)] == [
        "5", "1.500", "-1.500", "1767225600.001", "0",
    ]  # fmt: skip


@given(st.floats(-1e9, 1e9))
def test_stamps_read_back_to_the_millisecond(seconds: float) -> None:
    assert round(float(stamp(seconds)) * 1000) == round(seconds * 1000)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_can_query(metric: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # who connects before the server runs waits for it
        app = Starlette(routes=routes(Readers.over(shared_store())))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            asked = (
                ("instant", f"--time={NOW_S}", url, f"sum({metric})"),
                ("series", f"--match={metric}", f"--start={NOW_S}", f"--end={NOW_S + 1}", url),
                ("range", f"--start={NOW_S}", f"--end={NOW_S + 10}", "--step=5s", url, metric),
            )
            answers = [
                subprocess.run(
                    ["promtool", "query", *each], capture_output=True, text=True, check=True
                ).stdout
                for each in asked
            ]
        finally:
            server.should_exit = True
            thread.join()
    assert answers[0] == f"{{}} => 3.5 @[{NOW_S}]\n"
    assert answers[1].count("tier=") == 2
    assert answers[2].count("2 @[") == 3


def test_a_trace_for_perfetto(client: TestClient) -> None:
    trace_id = bytes(range(40, 56))
    send("traces", trace_request(trace_id, count=3))
    reply = client.get(f"/api/traces/{trace_id.hex()}/perfetto")
    assert reply.status_code == 200
    assert f"{trace_id.hex()}.perfetto.json" in reply.headers["content-disposition"]
    events = reply.json()["traceEvents"]
    assert sum(e["ph"] == "X" for e in events) == 3
    assert client.get(f"/api/traces/{'0' * 31}1/perfetto").status_code == 404
    assert client.get("/api/traces/nonsense/perfetto").status_code == 400
