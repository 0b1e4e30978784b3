"""What the conformance suite can't compare: Prometheus 3's parameters, native histograms, and queries given up."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from typing import Any, cast
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from recording import Recorded
from rushes.query import Readers
from rushes.query.cardinality import Cardinality, Count
from rushes.query.promql import PromQL, QueryResult
from rushes.store.interface import Row, Store, StoreUnavailable
from rushes.store.schema import ARROW
from rushes.web.api import routes
from telemetry_sender import put_series
from telemetry_store import NOW_S, shared_store, unique


@pytest.fixture(scope="module")
def metric() -> str:
    name = unique("many")
    put_series(name, [({"n": str(n)}, [(at, float(n)) for at in range(0, 300, 15)]) for n in range(40)])
    return name


def _query(client: TestClient, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/v1/query", params={"time": NOW_S} | asked).json()
    return found


def test_a_limit_cuts_and_says_so(client: TestClient, metric: str) -> None:
    whole = _query(client, query=metric)
    assert len(whole["data"]["result"]) == 40
    assert "warnings" not in whole
    cut = _query(client, query=metric, limit=3)
    assert cut["data"]["result"] == whole["data"]["result"][:3]
    assert cut["warnings"] == ["results truncated due to limit"]
    assert _query(client, query=metric, limit=0) == whole
    assert _query(client, query="1", limit=1)["data"] == {"resultType": "scalar", "result": [NOW_S, "1"]}
    for path in (f"series?match[]={metric}", f"labels?match[]={metric}", f"label/n/values?match[]={metric}"):
        body = client.get(f"/api/v1/{path}&limit=1").json()
        assert (len(body["data"]), body["warnings"]) == (1, ["results truncated due to limit"])


def test_warnings_and_infos_stand_beside_the_data(client: TestClient, metric: str) -> None:
    warned = _query(client, query=f"quantile(2, {metric})")
    assert "infos" not in warned
    assert warned["warnings"][0].startswith("PromQL warning: quantile value should be between 0 and 1")
    informed = _query(client, query=f"rate({metric}[1m])", time=NOW_S + 200)
    assert "warnings" not in informed
    assert informed["infos"][0].startswith("PromQL info: metric might not be a counter")


def test_of_many_notes_ten_are_told(monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
    notes = [f"note {number}" for number in range(13)]
    result = QueryResult("vector", [], warnings=notes, infos=notes)
    monkeypatch.setattr(PromQL, "instant", lambda *_, **__: result)
    body = _query(client, query="1")
    assert body["warnings"] == [*notes[:10], "3 more warning annotations omitted"]
    assert body["infos"] == [*notes[:10], "3 more info annotations omitted"]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"limit": "-1"}, 'invalid parameter "limit": limit must be non-negative'),
        ({"limit": "x"}, 'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax'),
        (
            {"lookback_delta": "x"},
            'error parsing lookback delta duration: cannot parse "x" to a valid duration',
        ),
    ],
)
def test_parameters_of_prometheus_3_are_refused_as_there(
    client: TestClient, params: dict[str, str], error: str
) -> None:
    reply = client.get("/api/v1/query", params={"query": "1"} | params)
    assert (reply.status_code, reply.json()["error"]) == (400, error)


def test_the_lookback_can_be_changed_for_a_query(client: TestClient, metric: str) -> None:
    late = NOW_S + 285 + 100
    assert len(_query(client, query=metric, time=late)["data"]["result"]) == 40
    assert _query(client, query=metric, time=late, lookback_delta="1m")["data"]["result"] == []
    assert len(_query(client, query=metric, time=late + 500, lookback_delta="900")["data"]["result"]) == 40


def test_names_of_utf8_arrive_escaped(client: TestClient) -> None:
    name = unique("utf")
    put_series(name, [({"a.b_c": "x"}, [(0, 1.0)])])
    assert client.get(f"/api/v1/label/U__a_2e_b__c/values?match[]={name}").json()["data"] == ["x"]
    assert client.get("/api/v1/label/U___d800_/values").json()["data"] == []


def test_native_histograms_are_written_as_prometheus_does(client: TestClient) -> None:
    name = unique("native")
    put_series(name, [({}, [])])
    series_id = shared_store().rows(
        "SELECT series_id FROM series WHERE metric = {name:String}", {"name": name}
    )[0]["series_id"]
    row = {
        "metric": name, "series_id": series_id, "ts": NOW_S * 1000, "count": 12.0, "sum": 18.5, "schema": 0,
        "gauge": 0, "zero_threshold": 0.001, "zero_count": 2.0, "positive_indices": [0, 1, 2],
        "positive_counts": [3.0, 0.0, 4.0], "negative_indices": [1], "negative_counts": [3.0],
        "custom_bounds": [],
    }  # fmt: skip
    custom = row | {
        "ts": (NOW_S + 600) * 1000, "schema": -53, "zero_count": 0.0, "negative_indices": [],
        "negative_counts": [], "positive_indices": [0, 1, 2], "positive_counts": [1.0, 2.0, 9.0],
        "custom_bounds": [5.0, 10.0],
    }  # fmt: skip
    shared_store().insert("histograms", pa.Table.from_pylist([row, custom], schema=ARROW["histograms"]))
    (found,) = _query(client, query=name)["data"]["result"]
    expected = {
        "count": "12",
        "sum": "18.5",
        "buckets": [
            [1, "-2", "-1", "3"],
            [3, "-0.001", "0.001", "2"],
            [0, "0.5", "1", "3"],
            [0, "2", "4", "4"],
        ],
    }
    assert found == {"metric": {"__name__": name}, "histogram": [NOW_S, expected]}
    asked: dict[str, str | int] = {"query": name, "start": NOW_S, "end": NOW_S + 1, "step": "500ms"}
    (ranged,) = client.get("/api/v1/query_range", params=asked).json()["data"]["result"]
    assert ranged == {
        "metric": {"__name__": name},
        "histograms": [[NOW_S, expected], [NOW_S + 0.5, expected], [NOW_S + 1, expected]],
    }
    (found,) = _query(client, query=name, time=NOW_S + 600)["data"]["result"]
    buckets = [[3, "-Inf", "5", "1"], [0, "5", "10", "2"], [0, "10", "+Inf", "9"]]
    assert found["histogram"][1]["buckets"] == buckets


def test_large_answers_are_packed_for_who_takes_it(client: TestClient, metric: str) -> None:
    url = f"/api/v1/query?query={metric}&time={NOW_S}"
    for accepted, packed in (
        ("gzip, deflate", True),
        ("GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("br", False),
    ):
        with client.stream("GET", url, headers={"accept-encoding": accepted}) as reply:
            raw = b"".join(reply.iter_raw())
        assert ("content-encoding" in reply.headers) == packed
        assert reply.headers["vary"] == "Accept-Encoding"
        body = json.loads(gzip.decompress(raw) if packed else raw)
        assert len(body["data"]["result"]) == 40
    small = client.get("/api/v1/query?query=1", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers


class _Held:
    """The shared store to read from, whose statements wait until they may go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.retention_s = shared_store().retention_s

    def query(self, sql: str, params: Any = None, *, timeout_s: float | None = None) -> Any:
        self.reached.set()
        assert self.go_on.wait(60)
        return shared_store().query(sql, params, timeout_s=timeout_s)

    def rows(self, sql: str, params: Any = None) -> list[Row]:
        found: list[Row] = self.query(sql, params).to_pylist(maps_as_pydicts="lossy")
        return found


def _over(store: _Held) -> Starlette:
    return Starlette(routes=routes(Readers.over(cast("Store", store))))


def test_a_query_whose_client_goes_is_given_up(metric: str, recorded: Recorded) -> None:
    store = _Held()
    app = _over(store)
    sent: list[Any] = []

    async def ask() -> None:
        gone, told = asyncio.Event(), iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            for message in told:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": "/api/v1/query", "headers": [], "http_version": "1.1",
            "query_string": f"query={metric}+%2B+{metric}+offset+1m&time={NOW_S}".encode(), "scheme": "http",
            "server": ("x", 80), "client": ("y", 1), "root_path": "",
        }  # fmt: skip
        question = asyncio.create_task(app(scope, receive, send))
        await asyncio.to_thread(store.reached.wait, 60)
        gone.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        store.go_on.set()
        await question

    asyncio.run(ask())
    assert sent[0]["status"] == 499
    assert json.loads(sent[1]["body"])["errorType"] == "canceled"
    counts = recorded.metrics("rushes_query_duration_seconds_count")
    assert counts['rushes_query_duration_seconds_count{api="query",outcome="canceled"}'] >= 1


class _Gone(_Held):
    def query(self, sql: str, params: Any = None, *, timeout_s: float | None = None) -> Any:
        raise StoreUnavailable("the disk is full")


def test_a_store_that_can_not_answer_is_503(metric: str) -> None:
    with TestClient(_over(_Gone())) as client:
        for path in ("labels", f"series?match[]={metric}", "metadata", "status/tsdb", "label/x/values"):
            assert client.get(f"/api/v1/{path}").status_code in {422, 503}
        for path in ("/api/traces", "/api/logs", "/api/videos", "/jaeger/api/services"):
            reply = client.get(path)
            assert reply.status_code == 503
            assert "disk is full" in reply.text


def test_a_fault_of_ours_is_an_internal_error_in_the_right_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PromQL, "instant", broken)
    with TestClient(Starlette(routes=routes(Readers.over(shared_store())))) as client:
        reply = client.get("/api/v1/query?query=1")
    assert (reply.status_code, reply.json()["errorType"]) == (500, "internal")


@pytest.mark.parametrize(
    ("series", "metric", "kind", "said"),
    [
        ("queue_depth_total", "queue_depth_total", "gauge", "Number of jobs in queue"),
        ("job_age_seconds_bucket", "job_age_seconds", "histogram", "Total job lifetime"),
        (
            "vllm_omni:num_requests_running",
            "vllm_omni:num_requests_running",
            "gauge",
            "Requests that are running",
        ),
        (
            "vllm_omni:e2e_request_latency_s_sum",
            "vllm_omni:e2e_request_latency_s",
            "histogram",
            "Time of a request",
        ),
    ],
)
def test_what_a_known_metric_means_is_told_without_its_sender(
    client: TestClient, series: str, metric: str, kind: str, said: str
) -> None:
    put_series(series, [({"tier": "free"}, [(0, 1.0)])])
    for params in ({"metric": metric}, {}):
        (about,) = client.get("/api/v1/metadata", params=params).json()["data"][metric]
        assert about["type"] == kind
        assert about["help"].startswith(said)
    assert client.get(f"/api/v1/metadata?metric={series}_no").json()["data"] == {}
    assert client.get(f"/api/v1/metadata?metric={metric}&limit=0").json()["data"] == {}
    assert len(client.get("/api/v1/metadata?limit=1").json()["data"]) == 1


def test_a_part_of_a_histogram_is_no_metric_of_its_own(client: TestClient) -> None:
    put_series("job_age_seconds_bucket", [({}, [(0, 1.0)])])
    assert client.get("/api/v1/metadata?metric=job_age_seconds_bucket").json()["data"] == {}


def test_series_are_counted(client: TestClient) -> None:
    name, label = unique("count"), unique("label")
    put_series(name, [({label: str(n), "kind": name}, [(0, 1.0)]) for n in range(3)])
    found = Cardinality(shared_store(), clock=lambda: NOW_S + 7000).counts(limit=1000)
    assert Count(name, 3) in found.by_metric
    assert Count(label, 3) in found.values_by_label
    assert Count(f"kind={name}", 3) in found.by_label_pair
    assert found.series >= 3
    assert found.label_pairs >= 4
    assert found.min_ms <= NOW_S * 1000 <= found.max_ms
    later = Cardinality(shared_store(), clock=lambda: NOW_S + 8000).counts(limit=1000)
    assert Count(name, 3) not in later.by_metric
    assert set(client.get("/api/v1/status/tsdb").json()["data"]["headStats"]) == {
        "numSeries", "numLabelPairs", "minTime", "maxTime",
    }  # fmt: skip
    assert client.get("/api/v1/status/tsdb?limit=0").status_code == 400


_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["1", "-1", "0", "1e308", "9" * 400, "NaN", "inf", "2026-01-01T00:00:00Z", "1m", "sum(x)", "x"]
    ),
)
_NAMES = (
    "query", "time", "timeout", "start", "end", "step", "limit", "lookback_delta", "stats", "match[]", "metric",
    "limit_per_metric", "type",
)  # fmt: skip
_PATHS = (
    "query", "query_range", "query_exemplars", "format_query", "series", "labels", "metadata", "rules",
    "status/tsdb",
)  # fmt: skip


@settings(max_examples=150)
@given(
    path=st.one_of(
        st.sampled_from(_PATHS),
        st.text("aU_%2./é\x00", max_size=9).map(lambda t: f"label/{quote(t, safe='')}/values"),
    ),
    params=st.dictionaries(st.sampled_from(_NAMES), _TEXTS, max_size=6),
    post=st.booleans(),
)
def test_no_parameter_is_an_internal_error(
    client: TestClient, path: str, params: dict[str, str], *, post: bool
) -> None:
    params = {name: text.encode("utf-8", "replace").decode() for name, text in params.items()}
    url = f"/api/v1/{path}"
    reply = client.post(url, data=params) if post else client.get(url, params=params)
    assert reply.status_code < 500 or reply.status_code == 503, reply.text
    if reply.status_code == 503:
        assert reply.json()["errorType"] == "timeout"


@settings(max_examples=50)
@given(body=st.binary(max_size=200))
def test_no_form_is_an_internal_error(client: TestClient, body: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for path in ("query", "series"):
        assert client.post(f"/api/v1/{path}", content=body, headers=headers).status_code < 500


def test_a_form_without_end_is_refused(client: TestClient) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    reply = client.post("/api/v1/query", content=b"query=" + b"1" * (2 << 20), headers=headers)
    assert (reply.status_code, reply.json()["errorType"]) == (400, "bad_data")
