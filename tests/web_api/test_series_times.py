"""Series, labels and their values are those of the time that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from rushes.query import Readers
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.web.api import ScrapeTarget, routes
from rushes.web.api.form import Form
from rushes.web.api.targets import Targets
from telemetry_sender import put_series
from telemetry_store import NOW_S, shared_store, unique

_LATE = 20_000


@pytest.fixture(scope="module")
def metric() -> str:
    """A metric with a series of the first minute, and another one of hours later."""
    name = unique("timed").replace("-", "_")
    put_series(
        name,
        [
            ({"early": "e", "which": "1"}, [(at, 1.0) for at in (0, 15, 30)]),
            ({"late": "l", "which": "2"}, [(_LATE + at, 1.0) for at in (0, 15, 30)]),
        ],
    )
    return name


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, ["1", "2"]),
        ({"start": 0, "end": _LATE}, ["1", "2"]),
        ({"start": 30}, ["1", "2"]),
        ({"start": 31}, ["2"]),
        ({"end": _LATE - 1}, ["1"]),
        ({"start": 16, "end": 29}, []),
        ({"start": _LATE + 31}, []),
        ({"end": -1}, []),
    ],
)
def test_series_have_samples_from_start_to_end(
    client: TestClient, metric: str, times: dict[str, int], expected: list[str]
) -> None:
    asked: dict[str, Any] = {name: NOW_S + at for name, at in times.items()} | {"match[]": metric}
    found = client.get("/api/v1/series", params=asked).json()["data"]
    assert [each["which"] for each in found] == expected


@pytest.mark.parametrize("by_name", [True, False])
def test_labels_end_with_the_end(client: TestClient, metric: str, by_name: bool) -> None:  # noqa: FBT001
    asked: dict[str, Any] = {"start": NOW_S - 60, "end": NOW_S + 60}
    if by_name:
        asked["match[]"] = metric
    names = client.get("/api/v1/labels", params=asked).json()["data"]
    assert ("early" in names, "late" in names) == (True, False)
    asked |= {"match[]": metric}
    assert client.get("/api/v1/label/which/values", params=asked).json()["data"] == ["1"]
    assert client.get("/api/v1/label/__name__/values", params=asked).json()["data"] == [metric]
    asked["end"] = NOW_S - 30
    assert client.get("/api/v1/label/__name__/values", params=asked).json()["data"] == []


def test_an_end_that_is_hardly_past_costs_no_look_at_samples(metric: str) -> None:
    def values(now_s: float) -> list[str]:
        index = SeriesIndex(shared_store(), clock=lambda: now_s)
        return index.label_values("which", [metric], NOW_S, NOW_S + 60)

    assert values(NOW_S + 7000) == ["1", "2"]  # a block of Prometheus' is as coarse
    assert values(NOW_S + 9000) == ["1"]


def test_targets_are_told_with_what_their_last_scrape_left() -> None:
    job = unique("job")
    of = {"job": job, "instance": "a:1"}
    down = {"job": job, "instance": "b:1"}
    put_series("up", [(of, [(0, 1.0)]), (down, [(5, 0.0)])])
    put_series("scrape_duration_seconds", [(of, [(0, 0.25)]), (down, [(5, 10.0)])])
    targets = [
        ScrapeTarget("http://user:password@a:1/metrics", of, 15, 10),
        ScrapeTarget("http://b:1/metrics", down, 60, 2.5),
        ScrapeTarget("http://c:1/metrics", {"job": "other", "instance": "c:1"}, 15, 10),
    ]
    scraped = Targets(targets, PromQL(shared_store()), lambda: NOW_S + 10)
    told = scraped.listed(Form([], {}))["activeTargets"]
    assert [each["health"] for each in told] == ["up", "down", "unknown"]
    assert told[0]["labels"] == of
    assert told[0]["scrapeUrl"] == "http://a:1/metrics"
    assert (told[0]["lastScrape"], told[0]["lastScrapeDuration"]) == ("2026-01-01T00:00:00.000Z", 0.25)
    assert [bool(each["lastError"]) for each in told] == [False, True, False]
    assert [each["scrapeTimeout"] for each in told] == ["10s", "2.5s", "10s"]
    assert told[2]["lastScrape"] == "0001-01-01T00:00:00Z"
    of_job = scraped.listed(Form([("scrapePool", job), ("state", "active")], {}))
    assert len(of_job["activeTargets"]) == 2
    assert scraped.listed(Form([("state", "dropped")], {}))["activeTargets"] == []


def test_what_tools_ask_of_a_server_is_answered() -> None:
    target = ScrapeTarget("http://c:1/metrics", {"job": "c", "instance": "c:1"}, 15, 10)
    app = Starlette(routes=routes(Readers.over(shared_store()), targets=[target]))
    with TestClient(app) as client:
        told = client.get("/api/v1/targets").json()["data"]
        assert [each["scrapeUrl"] for each in told["activeTargets"]] == ["http://c:1/metrics"]
        assert client.get("/api/v1/scrape_pools").json()["data"] == {"scrapePools": ["c"]}
        managers = client.get("/api/v1/alertmanagers").json()
        assert managers["data"] == {"activeAlertmanagers": [], "droppedAlertmanagers": []}
