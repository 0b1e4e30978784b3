"""Prometheus itself and this API, asked the same of the same samples: statuses, headers and bodies agree.

Of what Prometheus words by its own grammar, or words otherwise in version 3, only the kind is compared.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from telemetry_sender import put_series
from telemetry_store import NOW_S, unique

pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus is not installed: its answers can't be compared",
)

METRIC = unique("conf").replace("-", "_") + "_total"
TIERS = {"free": ((0, 1.5), (15, 3.5), (30, 1e-7)), "premium": ((0, 2.0), (15, 4.0), (30, 1e21))}
M = "{m}"  # the metric

SAME = [
    "query",
    "query?query=sum(",
    "query_exemplars",
    "query_exemplars?query=sum(",
    "format_query",
    "format_query?query=(",
    "query?query=1&time=tomorrow",
    "query?query=1&time=2026-01-01T00:00:00Z",
    "query?query=1&time=2026-01-01T01:00:00.5%2B01:00",
    "query?query=1&time=2026-01-01",
    "query?query=1&time=20260101T000000Z",
    "query?query=1&time=%201",
    "query?query=1&time=1.5",
    "query?query=1&time=1.0005",
    "query?query=1&time=-0.5",
    "query?query=vector(1e-7)&time=5",
    "query?query=vector(1e21)&time=-5",
    "query?query=vector(123456789012345678901)&time=5",
    "query?query=-1/0&time=1",
    "query?query=0/0&time=1",
    "query?query=1&timeout=x&time=5",
    "query?query=1&timeout=1ns",
    "query?query=1&timeout=5s&time=5",
    "query?query=1&timeout=1m30s&time=5",
    "query?query=1&timeout=30s1m&time=5",
    "query?query=1&timeout=1e300&time=5",
    f"query?query={M}&time={NOW_S}",
    f"query?query={M}&time={NOW_S + 30}",
    f"query?query={M}[1m]&time={NOW_S + 20}",
    "query?query=%22abc%3C%22&time=1",
    "query?query=nope&time=5",
    f"query?query=sum({M})&time={NOW_S}",
    f"query?query=sort_desc({M})&time={NOW_S}",
    f"query?query=count+by+(tier)+({M})&time={NOW_S}",
    "query_range?query=1",
    "query_range?query=1&start=0",
    "query_range?query=1&start=0&end=1",
    "query_range?query=1&start=x&end=1&step=1",
    "query_range?query=1&start=&end=1&step=500ms",
    "query_range?query=1&start=5&end=1&step=1",
    "query_range?query=1&start=5&end=9&step=0",
    "query_range?query=1&start=5&end=9&step=-1",
    "query_range?query=1&start=0&end=11001&step=1",
    "query_range?query=1&start=0&end=11000&step=1",
    "query_range?query=1&start=0&end=9&step=1parsec",
    "query_range?query=1&start=0&end=9&step=1e300",
    "query_range?query=1&start=0&end=1&step=500ms",
    "query_range?query=nope&start=0&end=1&step=500ms",
    f"query_range?query={M}&start={NOW_S}&end={NOW_S + 30}&step=15",
    f"query_range?query=nope+or+{M}&start={NOW_S - 7}&end={NOW_S + 8}&step=2.5",
    "series",
    "series?match[]={}",
    "series?match[]={a=~%22.*%22}",
    "series?match[]={m}",
    "series?match[]={m}&match[]=nope",
    "series?match[]={m}&start=x",
    "series?match[]={m}&end=x",
    "series?match[]={m}&start=2e9",
    "series?match[]={m}&start=10&end=5",
    f"series?match[]={M}&start={NOW_S + 30}&end={NOW_S + 30}",
    f"series?match[]={M}&start={NOW_S + 31}",
    f"series?match[]={M}&end={NOW_S - 1}",
    f"series?match[]={M}&end={NOW_S}",
    f"labels?match[]={M}&start={NOW_S}&end={NOW_S + 30}",
    f"label/tier/values?match[]={M}&start={NOW_S}&end={NOW_S + 30}",
    f"label/tier/values?match[]={M}&end={NOW_S - 90_000}",
    "alertmanagers",
    "series?match[]=",
    "series?match[]=sum(x)",
    "series?match[]=x[5m]",
    "series?match[]=x%20offset%205m",
    "series?match[]=(x)",
    "series?match[]=1",
    "series?match[]=x%2Bx",
    "series?match[]=a{b=~%22a**%22}",
    "labels?match[]=(",
    "label/tier/values?match[]=(",
    "query?query=a{b=%22%ff%22}&time=1",
    "query?query=a{b=~%22[z-a]%22}&time=1",
    "series?match[]=nope",
    "labels?match[]={m}",
    "labels?match[]={}",
    "labels?start=10&end=5",
    "labels?start=x",
    "label/tier/values?match[]={m}",
    "label/__name__/values?match[]={m}",
    "label/nope/values",
    "label/tier/values?match[]=nope",
    "label/tier/values?end=x",
    "metadata?limit=x",
    "metadata?metric=nope",
    "query_exemplars?query=nope",
    "query_exemplars?query=1",
    "query_exemplars?query=1&start=5&end=1",
    "query_exemplars?query=1&start=x",
    "rules",
    "rules?type=x",
    "rules?type=alert",
    "alerts",
    "format_query?query=sum(a)by(b)",
]

SAME_KIND = [
    "query?query=rate({m})&time=1",
    "query?query=foo(1)&time=1",
    "query?query=1%20%2B&time=1",
    "query?query={}&time=1",
    "query?query=a{b=~%22(%22}&time=1",
    "query_range?query={m}[5m]&start=0&end=9&step=1",  # Prometheus 3 names the parameter
    "query_range?query=%22a%22&start=0&end=9&step=1",
    "query_range?query=sum(&start=0&end=1&step=1",
    "query_range?query=1&start=0&end=1&step=1&timeout=0",  # where it ran out is a matter of luck
    "query?query=1&timeout=0",
    "query?query=1&timeout=-3",
    "series?match[]=a{b=~%22(%22}",  # Prometheus 3 lets a dot be a line's end
    f"query?query={M}+%2B+on()+{M}&time={NOW_S}",
]

FORMS = [
    ("query", "query=1&time=5"),
    ("query?query=2", "time=5"),
    ("query?query=2", "query=1&time=5"),
    ("query?time=5", "query=vector(1)"),
    ("query_range", "query=1&start=0&end=2&step=1"),
    ("series", "match[]={m}"),
    ("labels", "match[]={m}"),
    ("query_exemplars", "query=nope"),
]

OTHER_METHODS = [
    ("PUT", "query"),
    ("POST", "label/tier/values"),
    ("POST", "metadata"),
    ("OPTIONS", "query"),
    ("GET", "nope"),
]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("prometheus")
    lines = [f"# TYPE {METRIC} gauge"]
    for tier, samples in TIERS.items():
        lines += [f'{METRIC}{{tier="{tier}"}} {value!r} {NOW_S + at}' for at, value in samples]
    (folder / "samples").write_text("\n".join([*lines, "# EOF"]) + "\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    (folder / "prometheus.yml").write_text("global: {}\n")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    process = subprocess.Popen(
        [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=20y", f"--web.listen-address={address}", "--log.level=error",
        ],
        cwd=folder,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1/") as client:
            _until_ready(client, folder)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _until_ready(client: httpx.Client, folder: Path) -> None:
    for _ in range(300):
        try:
            if client.get(f"http://{client.base_url.netloc.decode()}/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"prometheus did not start in {folder}")


@pytest.fixture(scope="module")
def ours(client: TestClient) -> TestClient:
    put_series(METRIC, [({"tier": tier}, samples) for tier, samples in TIERS.items()])
    return client


def _said(reply: Any) -> Any:
    kind = reply.headers.get("content-type", "")
    return reply.status_code, kind, reply.json() if kind == "application/json" else None


def _get(client: Any, path: str, prefix: str = "") -> Any:
    return _said(client.get(prefix + path.replace("{m}", METRIC)))


@pytest.mark.parametrize("path", SAME)
def test_answers_are_the_same(theirs: httpx.Client, ours: TestClient, path: str) -> None:
    assert _get(ours, path, "/api/v1/") == _get(theirs, path)


@pytest.mark.parametrize("path", SAME_KIND)
def test_errors_are_of_the_same_kind(theirs: httpx.Client, ours: TestClient, path: str) -> None:
    status, kind, body = _get(theirs, path)
    our_status, our_kind, our_body = _get(ours, path, "/api/v1/")
    assert (our_status, our_kind, our_body["errorType"]) == (status, kind, body["errorType"])
    assert status in {400, 422, 503}
    assert our_body["error"]


@pytest.mark.parametrize(("path", "form"), FORMS)
def test_forms_are_read_the_same(theirs: httpx.Client, ours: TestClient, path: str, form: str) -> None:
    asked: dict[str, Any] = {
        "content": form.replace("{m}", METRIC),
        "headers": {"content-type": "application/x-www-form-urlencoded"},
    }
    expected = _said(theirs.post(path, **asked))
    assert expected[0] == 200
    assert _said(ours.post(f"/api/v1/{path}", **asked)) == expected


@pytest.mark.parametrize(("method", "path"), OTHER_METHODS)
def test_methods_are_refused_the_same(theirs: httpx.Client, ours: TestClient, method: str, path: str) -> None:
    assert ours.request(method, f"/api/v1/{path}").status_code == theirs.request(method, path).status_code


def test_a_body_that_is_no_form_is_not_read(theirs: httpx.Client, ours: TestClient) -> None:
    asked: dict[str, Any] = {"content": '{"query":"1"}', "headers": {"content-type": "application/json"}}
    assert ours.post("/api/v1/query", **asked).status_code == 400
    assert theirs.post("query", **asked).status_code == 400


@pytest.mark.parametrize(
    "path", ["status/buildinfo", "status/flags", "status/runtimeinfo", "status/tsdb", "status/config"]
)
def test_what_is_told_of_the_server_has_the_same_names(
    theirs: httpx.Client, ours: TestClient, path: str
) -> None:
    expected, found = theirs.get(path).json()["data"], ours.get(f"/api/v1/{path}").json()["data"]
    assert found
    assert set(found) - {"serverTime"} <= set(expected)
    for name, value in found.items():
        if name in expected:
            assert type(value) is type(expected[name])


def test_stats_have_the_same_names(theirs: httpx.Client, ours: TestClient) -> None:
    path = f"query?query={METRIC}&time={NOW_S}&stats=true"
    expected, found = theirs.get(path).json()["data"], ours.get(f"/api/v1/{path}").json()["data"]
    assert set(found["stats"]) <= set(expected["stats"])
    assert set(found["stats"]["timings"]) <= set(expected["stats"]["timings"])
    assert all(seconds >= 0 for seconds in found["stats"]["timings"].values())
    assert found["result"] == expected["result"]
