"""Scraping against a real server: what a target exposes is what can be asked for, and its end is seen."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from recording import Recorded
from rushes.ingest import Limits, Receiver
from rushes.ingest.scrape import Scraper, Target
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from rushes.store.chdb_store import ChdbStore
from telemetry_store import NOW_NS, shared_store, unique

S = 1_000_000_000


class Exposing:
    """A target whose exposition is a variable, scraped at the times of a clock that the test sets."""

    def __init__(self, limits: Limits | None = None, **target: object) -> None:
        self.job = unique("job")
        self.now_ns = NOW_NS - 3000 * S
        self.text: str | bytes = ""
        self.headers: dict[str, str] = {}
        self.status = 200
        self.asked: list[Request] = []
        self.receiver = Receiver(shared_store(), clock_ns=lambda: self.now_ns, limits=limits)
        app = Starlette(routes=[Route("/metrics", self.metrics)])
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app))
        self.target = Target(self.job, "http://worker:9400/metrics", **target)  # type: ignore[arg-type]
        self.scraper = Scraper(self.receiver, [self.target], client=self.client)

    async def metrics(self, request: Request) -> Response:
        self.asked.append(request)
        return Response(self.text, status_code=self.status, headers=self.headers, media_type="text/plain")

    def scrape(self, *texts: str, after_s: int = 15) -> list[bool]:
        async def all_of_them() -> list[bool]:
            found = []
            for text in texts or (self.text,):
                self.now_ns += after_s * S
                self.text = text
                found.append(await self.scraper.scrape(self.target))
            return found

        return asyncio.run(all_of_them())

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        found = PromQL(shared_store()).instant(query, self.now_ns / S + 1).series
        return [(one.labels, one.values[0]) for one in found]


@pytest.fixture
def exposing() -> Iterator[Exposing]:
    found = Exposing()
    yield found
    found.receiver.close()


def test_what_is_exposed_has_the_targets_labels_and_cannot_pass_for_anothers(exposing: Exposing) -> None:
    name = unique("scraped")
    assert exposing.scrape(
        f'# HELP {name} what\n# TYPE {name} gauge\n{name}{{job="mine",exported_job="x",a=""}} 4\n'
    ) == [True]
    own = {"job": exposing.job, "instance": "worker:9400"}
    assert exposing.ask(name) == [
        ({"__name__": name, "exported_job": "x", "exported_exported_job": "mine", **own}, 4.0)
    ]
    assert exposing.ask(f'up{{job="{exposing.job}"}}') == [({"__name__": "up", **own}, 1.0)]
    assert exposing.ask(f'scrape_samples_scraped{{job="{exposing.job}"}}')[0][1] == 1
    assert exposing.ask(f'scrape_duration_seconds{{job="{exposing.job}"}}')[0][1] >= 0
    about = SeriesIndex(shared_store()).metadata(name)[name]
    assert (about.type, about.help) == ("gauge", "what")
    assert "application/openmetrics-text;version=1.0.0" in exposing.asked[0].headers["accept"]


def test_a_series_that_is_no_longer_exposed_ends_at_once(exposing: Exposing) -> None:
    name = unique("vanishing")
    exposing.scrape(f'{name}{{n="1"}} 1\n{name}{{n="2"}} 2\n')
    assert len(exposing.ask(name)) == 2
    exposing.scrape(f'{name}{{n="2"}} 3\n')
    assert [(labels["n"], value) for labels, value in exposing.ask(name)] == [("2", 3.0)]
    exposing.scrape(f'{name}{{n="1"}} 1\n{name}{{n="2"}} 2\n')
    assert len(exposing.ask(name)) == 2, "it may come back"


@pytest.mark.parametrize("how", ["status", "text", "labels", "encoding", "utf-8"])
def test_a_target_that_fails_is_down_and_its_series_end(
    exposing: Exposing, how: str, recorded: Recorded
) -> None:
    name = unique("down")
    assert exposing.scrape(f"{name} 1\n") == [True]
    match how:
        case "status":
            exposing.status = 500
        case "text":
            exposing.text = "no exposition at all"
        case "labels":
            exposing.text = f"{name} 1\nother{{a=}} 2\n"
        case "encoding":
            exposing.headers["content-encoding"] = "br"
        case _:
            exposing.text = b"\xff\xfe"
    assert exposing.scrape() == [False]
    assert exposing.scrape() == [False]
    assert exposing.ask(name) == []
    assert exposing.ask(f'up{{job="{exposing.job}"}}')[0][1] == 0
    lines = [dict(line.log_record.attributes or {}) for line in recorded.logs.get_finished_logs()]
    said = [line for line in lines if line["event"] == "scrape.failed"]
    assert [(line["job"], line["instance"]) for line in said] == [(exposing.job, "worker:9400")], "once"


def test_a_packed_exposition_of_openmetrics_with_exemplars_and_its_own_times(exposing: Exposing) -> None:
    name = unique("packed")
    at = (exposing.now_ns + 10 * S) / S
    exposing.headers = {"content-encoding": "gzip", "content-type": "application/openmetrics-text"}
    text = f'{name}_total{{a="b"}} 5 # {{trace_id="abc",x="y"}} 2 {at}\n{name}_own 7 {at}\n# EOF\n'
    exposing.text = gzip.compress(text.encode())
    assert exposing.scrape() == [True]
    (found,) = SeriesIndex(shared_store()).exemplars(f"{name}_total", at - 60, at + 60)
    assert found.exemplars[0].labels == {"trace_id": "abc", "span_id": "", "x": "y"} or (
        found.exemplars[0].labels == {"trace_id": "abc", "x": "y"}
    )
    assert found.exemplars[0].ts_ms == int(at * 1000)
    exposing.text = gzip.compress(b"# EOF\n")
    assert exposing.scrape() == [True]
    assert exposing.ask(f"{name}_total") == []
    assert exposing.ask(f"{name}_own")[0][1] == 7, "a series with its own times is not ended for it"


def test_a_bomb_is_a_failed_scrape() -> None:
    exposing = Exposing(Limits(body_bytes=100_000))
    exposing.headers = {"content-encoding": "gzip"}
    exposing.text = gzip.compress(bytes(50 << 20))
    assert exposing.scrape() == [False]
    assert exposing.ask(f'up{{job="{exposing.job}"}}')[0][1] == 0
    exposing.receiver.close()


def test_the_token_is_read_each_time_and_a_missing_one_is_a_failure(tmp_path: Path) -> None:
    token = tmp_path / "token"
    exposing = Exposing(bearer_token_file=token)
    assert exposing.scrape("a 1\n") == [False]
    token.write_text("secret\n")
    assert exposing.scrape("a 1\n") == [True]
    assert exposing.asked[0].headers["authorization"] == "Bearer secret"
    exposing.receiver.close()


def test_a_million_label_values_cost_the_metric_its_room_and_nothing_else() -> None:
    exposing = Exposing(Limits(series_per_metric=100))
    name = unique("flood")
    flood = "".join(f'{name}{{n="{number}"}} 1\n' for number in range(3000))
    assert exposing.scrape(flood + f"{name}_fine 1\n", flood + f"{name}_fine 2\n") == [True, True]
    assert len(exposing.ask(name)) == 100
    assert exposing.ask(f"{name}_fine")[0][1] == 2
    assert exposing.receiver.stats.refused == {"too_many_series": 5800}
    exposing.receiver.close()


def test_scraping_goes_on_and_ends_when_it_is_cancelled(store: ChdbStore) -> None:
    exposing = Exposing(interval_s=0.01)
    exposing.text = "a 1\n"

    async def some() -> None:
        running = asyncio.create_task(exposing.scraper.run())
        while len(exposing.asked) < 3:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(some())
    exposing.receiver.close()
