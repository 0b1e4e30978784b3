"""The pages that are asked for something, over the store: what they find, what they say of what can't be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.testclient import TestClient

from rushes.query import Logs, Readers, Traces, Videos
from rushes.query.promql import PromQL
from rushes.web.api import routes
from rushes.web.app import create_app
from rushes.web.live import Live
from telemetry_sender import S, say, span
from telemetry_store import NOW_NS, NOW_S, shared_store, unique
from web.test_web_pages import page_data


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    store = shared_store()
    app = create_app(
        videos=Videos(store),
        traces=Traces(store),
        logs=Logs(store),
        promql=PromQL(store),
        api_routes=routes(Readers.over(store)),
        media=None,
        live=Live(),
        health=lambda: {"ready": True},
        clock_ns=lambda: NOW_NS + 60 * S,
    )
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def service() -> str:
    """A service with two traces: a slow one that failed, of a video, and a fast one."""
    name = unique("svc")
    span(
        bytes([1]) + os.urandom(15), f"slow-{name}", S, 9 * S, service=name,
        attributes={"model": f"M-{name}", "tier": "free", "shard": 7}, status={"code": 2},
    )  # fmt: skip
    span(bytes([2]) + os.urandom(15), f"fast-{name}", 2 * S, S // 10, service=name)
    return name


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["fast", "slow"]),
        ({"order": "oldest"}, ["slow", "fast"]),
        ({"order": "longest"}, ["slow", "fast"]),
        ({"name": "fast-{}"}, ["fast"]),
        ({"min_duration_ms": "1000"}, ["slow"]),
        ({"max_duration_ms": "1000"}, ["fast"]),
        ({"min_duration_ms": "200", "max_duration_ms": "1000"}, []),
        ({"status": "error"}, ["slow"]),
        ({"model": "M-{}"}, ["slow"]),
        ({"tier": "free"}, ["slow"]),
        ({"attribute": ["shard=7", "tier"]}, ["slow"]),
        ({"attribute": ["shard=7", "tier=premium"]}, []),
        ({"range": "15m"}, ["fast", "slow"]),
        ({"from": str(NOW_S + 2), "to": str(NOW_S + 30)}, ["fast"]),
        ({"to": str(NOW_S + 1.5)}, ["slow"]),
        ({"model": "", "attribute": ["", ""], "range": "", "min_duration_ms": " "}, ["fast", "slow"]),
    ],
)
def test_traces_are_found_by_what_their_spans_are_like(
    client: TestClient, service: str, asked: dict[str, Any], found: list[str]
) -> None:
    query = {k: v.format(service) if isinstance(v, str) else v for k, v in asked.items()}
    answer = client.get("/traces", params={"service": service, **query})
    assert answer.status_code == 200
    html = answer.text
    places = {name: html.find(f'title="{name}-{service}"') for name in ("slow", "fast")}
    assert sorted((n for n in places if places[n] >= 0), key=lambda n: places[n]) == found
    assert ("No trace has a span that fits" in html) == (not found)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/traces?service=kept&max_duration_ms=soon", "max_duration_ms"),
        ("/traces?service=kept&min_duration_ms=9&max_duration_ms=8", "max_duration_ms"),
        ("/traces?service=kept&attribute=%3D1", "attribute"),
        ("/traces?service=kept&range=1y", "range"),
        ("/traces?service=kept&from=tomorrow", "range"),
        ("/logs?service=kept&min_level=LOUD", "min_level"),
        ("/logs?service=kept&trace_id=12", "trace_id"),
        ("/explore?query=kept&step=0.001", "step"),
        ("/explore?query=kept&range=1y", "range"),
    ],
)
def test_what_cant_be_read_is_said_at_its_field_and_the_rest_is_kept(
    client: TestClient, path: str, field: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert answer.text.count(f'id="wrong-{field}"') == 1
    assert f'aria-describedby="wrong-{field}"' in answer.text
    assert "kept" in answer.text
    data = None if path.startswith("/traces") else page_data(answer.text)
    assert not (data and data.get("lines"))


def test_logs_are_found_and_followed_by_the_same_conditions(client: TestClient) -> None:
    service, trace = unique("svc"), os.urandom(16)
    for at, (event, level) in enumerate([("a.started", 9), ("a.slow", 13), ("a.failed", 17)]):
        say(event, at, service=service, level=level, trace_id=trace, request_id="video_1")
    said = page_data(client.get("/logs", params={"service": service, "min_level": "WARN", "q": ""}).text)
    assert [line["event"] for line in said["lines"]] == ["a.slow", "a.failed"]
    assert said["lines"][0]["trace_id"] == trace.hex()
    assert parse_qs(said["tail"]) == {"service": [service], "min_level": ["WARN"]}
    tailed = page_data(client.get("/logs", params={"service": service, "range": "15m"}).text)
    assert parse_qs(tailed["tail"])["start"] == [f"{NOW_S + 60 - 900:.3f}"]
    ended = page_data(
        client.get("/logs", params={"service": service, "from": NOW_S - 60, "to": NOW_S + 1}).text
    )
    assert [line["event"] for line in ended["lines"]] == ["a.started", "a.slow"]
    assert ended["tail"] is None, "what comes in can't fit"
    assert len(page_data(client.get("/logs", params={"trace_id": trace.hex()}).text)["lines"]) == 3
    assert len(page_data(client.get("/logs", params={"q": "FAIL", "service": service}).text)["lines"]) == 1


def test_the_explorer_asks_what_its_url_says(client: TestClient) -> None:
    html = client.get(
        "/explore", params={"query": 'up{a="<b>"}', "from": NOW_S, "to": NOW_S + 600, "step": 5}
    ).text
    assert page_data(html) == {"query": 'up{a="<b>"}', "start": NOW_S, "end": NOW_S + 600, "step": 5}
    assert "<b>" not in html.split("</textarea>")[0].split("<textarea")[1]
    assert page_data(client.get("/explore").text)["query"] == ""


def test_a_trace_leads_to_its_log_and_its_metrics(client: TestClient, service: str) -> None:
    trace_id = next(t.trace_id for t in Traces(shared_store()).search(service=service, status="error"))
    html = client.get(f"/traces/{trace_id}").text
    assert f'href="/logs?trace_id={trace_id}"' in html
    assert f'data-links="{trace_id}"' in html
