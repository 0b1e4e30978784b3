"""The pages over the query layer itself: every panel's expression is one that it evaluates."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from rushes.dashboards import OPERATIONS
from rushes.query import Logs, Traces, Videos
from rushes.query.promql import PromQL
from rushes.web.app import create_app
from rushes.web.live import Live
from rushes.web.panels import PanelEvaluator
from rushes.web.timerange import TimeRange
from telemetry_store import NOW_NS, NOW_S, shared_store, unique


@pytest.fixture
def client() -> Iterator[TestClient]:
    store = shared_store()
    app = create_app(
        videos=Videos(store),
        traces=Traces(store),
        logs=Logs(store),
        promql=PromQL(store),
        api_routes=[],
        media=None,
        live=Live(),
        health=lambda: {"ready": bool(store.rows("SELECT 1 AS one"))},
        clock_ns=lambda: NOW_NS,
    )
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("length_s", [900, 86_400])
def test_every_panel_can_be_evaluated(length_s: int, caplog: pytest.LogCaptureFixture) -> None:
    over = TimeRange(NOW_S - length_s, NOW_S)
    with caplog.at_level(logging.ERROR):
        data = PanelEvaluator(PromQL(shared_store())).dashboard(OPERATIONS, over)
    assert not [record.message for record in caplog.records]
    assert set(data) == {panel.id for panel in OPERATIONS.panels}


@pytest.mark.parametrize(
    "path", ["/", "/videos", "/videos?status=failed&model=VEO3", "/traces?status=error", "/readyz"]
)
def test_pages_answer_over_the_store(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_unknown_ids_are_not_found_in_the_store(client: TestClient) -> None:
    assert client.get(f"/videos/{unique('video_')}").status_code == 404
    assert client.get(f"/traces/{'e' * 32}").status_code == 404
