"""The banner, the log that is followed, the metrics explorer and the ways between them, in a browser."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from playwright.sync_api import Browser, Page, expect

from browser.conftest import Site, open_page, served
from otlp_messages import attributes, logs_request, metrics_request
from rushes.query import Readers
from rushes.web.api import routes, tail
from rushes.web.app import create_app
from rushes.web.live import Live
from telemetry_sender import S, say, send, span
from telemetry_store import NOW_NS, NOW_S, shared_store, unique


@dataclass
class Clock:
    ns: int = NOW_NS + 300 * S

    def __call__(self) -> int:
        return self.ns


@dataclass
class Place:
    """A control room over the tests' store, in whose time it lives."""

    url: str
    live: Live

    def do(self, act: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """In a thread of its own: playwright has this one's event loop."""
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(act, *given, **named).result()
        self.live.notify("logs")
        return found


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    live, clock, readers = Live(min_interval_s=0.0, heartbeat_s=1.0), Clock(), Readers.over(shared_store())
    app = create_app(
        videos=readers.videos,
        traces=readers.traces,
        logs=readers.logs,
        promql=readers.promql,
        api_routes=[*tail.routes(readers, live, clock_ns=clock), *routes(readers)],
        media=None,
        live=live,
        health=lambda: {"ready": True},
        clock_ns=clock,
    )
    with served(app, live) as url:
        yield Place(url, live)


@pytest.fixture
def at(browser: Browser, place: Place) -> Iterator[Page]:
    """A page that must end without an error of its scripts and without having asked any other host."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    faults: list[str] = []
    hosts: set[str] = set()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    yield page
    context.close()
    assert not faults
    assert hosts <= {urlsplit(place.url).netloc}


def test_the_banner_says_what_is_wrong_and_stays_away_until_it_changes(browser: Browser, site: Site) -> None:
    page = open_page(browser, site)
    page.clock.install()
    page.goto(f"{site.url}/videos")
    banner = page.locator("[data-banner]")
    expect(page.locator("table.list")).to_be_visible()
    expect(banner).to_be_hidden()

    def look() -> None:
        with page.expect_response("**/api/problems"):
            page.clock.run_for(15_000)

    site.room.problems = ["the store's disk has only 900 MB left", "the clock <b>ran</b>"]
    look()
    expect(page.get_by_role("alert")).to_contain_text("The store's disk has only 900 MB left")
    expect(banner).to_contain_text("The clock <b>ran</b>")
    banner.get_by_role("button", name="Hide").click()
    expect(banner).to_be_hidden()
    site.room.problems[0] = "the store's disk has only 850 MB left"
    look()
    page.goto(f"{site.url}/traces")
    expect(banner).to_be_hidden()
    site.room.problems = ["telemetry can't be stored since 10:00:00 UTC: the disk is full"]
    look()
    expect(banner).to_contain_text("the disk is full")
    site.room.problems = []
    look()
    expect(banner).to_be_hidden()
    page.context.close()
    assert not site.faults


def test_the_log_is_followed_and_can_be_paused(at: Page, place: Place) -> None:
    service, trace = unique("tail"), os.urandom(16)
    place.do(say, "e.first", 290, service=service, trace_id=trace)
    at.goto(f"{place.url}/logs?service={service}")
    lines = at.locator(".log-line")
    expect(at.locator("[data-live]")).to_have_text("Live")
    expect(lines).to_have_count(1)
    expect(lines.get_by_role("link", name="trace")).to_have_attribute(
        "href", re.compile(f"^/traces/{trace.hex()}")
    )
    place.do(say, "e.second", 291, service=service)
    place.do(say, "e.elsewhere", 291, service=unique("other"))
    expect(lines).to_have_count(2)
    at.keyboard.press("Space")
    expect(at.locator("[data-live]")).to_have_text("Paused")
    place.do(say, "e.third", 292, service=service)
    expect(at.locator("[data-waiting]")).to_have_text("1 new")
    expect(lines).to_have_count(2)
    at.keyboard.press("Space")
    expect(lines).to_have_count(3)
    # What is said, not what is drawn: the browser leaves out lines that it need not show yet.
    expect(lines.locator(".what > b")).to_have_text(["e.first", "e.second", "e.third"])
    at.keyboard.press("/")
    expect(at.locator("input[name=q]")).to_be_focused()
    at.keyboard.type("a b")
    assert at.locator("[data-live]").inner_text() == "Live", "a space in a field is a space"
    at.keyboard.press("Enter")
    expect(at).to_have_url(re.compile(r"q=a\+b"))
    expect(at.locator(".log-none")).to_contain_text("No line fits")


def test_a_log_that_cannot_be_followed_says_so_after_a_pause_as_well(at: Page, place: Place) -> None:
    at.route("**/api/logs/tail*", lambda route: route.abort())
    at.goto(f"{place.url}/logs?service={unique('tail')}")
    badge = at.locator("[data-live]")
    expect(badge).to_have_text("Reconnecting")
    at.keyboard.press("Space")
    assert badge.inner_text() == "Paused"
    at.keyboard.press("Space")
    assert badge.inner_text() == "Reconnecting", "at once, not when the next try has failed"


def test_a_log_in_spate_keeps_its_page_small_and_says_what_is_missing(at: Page, place: Place) -> None:
    service = unique("spate")
    place.do(say, "e.first", 290, service=service)
    at.goto(f"{place.url}/logs?service={service}")
    expect(at.locator("[data-live]")).to_have_text("Live")
    expect(at.locator(".log-line")).to_have_count(1)
    for batch in range(5):
        request = logs_request(service, attributes={"event": "e"})
        records = request.resource_logs[0].scope_logs[0].log_records
        for number in range(600 if batch == 4 else 480):
            records.add(
                time_unix_nano=NOW_NS + 291 * S + batch * S + number * 1_000_000,
                attributes=attributes({"event": f"e{batch}.{number}"}),
            )
        place.do(send, "logs", request)
        expect(
            at.locator(".log-line", has_text=re.compile(rf"e{batch}\.{599 if batch == 4 else 479}$"))
        ).to_have_count(1)
    assert at.locator("[data-lines] > *").count() == 2000
    expect(at.locator(".log-note")).to_contain_text("the oldest of them are left out")


def test_what_is_odd_in_a_trace_is_seen_too(at: Page, place: Place) -> None:
    trace = os.urandom(16)
    root = place.do(span, trace, "root", 0, 10 * S)
    place.do(span, trace, "", S, S, parent_span_id=bytes.fromhex(root))
    place.do(span, trace, "instant", 10 * S, 0, parent_span_id=bytes.fromhex(root))
    inner = root
    for number, name in enumerate(("one", "two", "step_22", "part")):
        inner = place.do(span, trace, name, number * S, S, parent_span_id=bytes.fromhex(inner))
    place.do(say, "e.small", 1, level=1, trace_id=trace)
    at.goto(f"{place.url}/traces/{trace.hex()}")
    note = at.locator("rushes-log .strip-note")
    expect(note).to_have_text("1 line")
    place.do(say, "e.grave", 2, level=21, trace_id=trace)
    expect(note).to_have_text("2 lines")
    level = at.get_by_label("Level")
    level.select_option("ERROR")
    expect(at.locator("rushes-log .log-line")).to_contain_text(["e.grave"])
    expect(note).to_have_text("1 of 2 lines")
    level.select_option("FATAL")
    expect(note).to_have_text("1 of 2 lines")
    expect(at.locator("rushes-waterfall .span", has_text="(no name)")).to_have_count(1)
    instant = at.locator("rushes-waterfall .span", has_text="instant")
    bar, lane = instant.locator(".bar").bounding_box(), instant.locator(".lane").bounding_box()
    assert bar
    assert lane
    assert bar["x"] + bar["width"] <= lane["x"] + lane["width"] + 0.5, "not beyond the lane, which hides it"
    at.set_viewport_size({"width": 390, "height": 844})
    label = at.locator("rushes-waterfall .span .label", has_text="step_22")
    assert label.evaluate("e => e.scrollWidth <= e.clientWidth"), "a step's number is to be read on a phone"


@pytest.fixture(scope="module")
def measured(place: Place) -> dict[str, str]:
    """A histogram with an exemplar that names a trace."""
    trace, model, name = os.urandom(16), unique("MODEL"), unique("took_seconds")

    def put() -> None:
        child = span(trace, "vae_decode", 9 * S, 60 * S, attributes={"model": model})
        for moment, count in ((0, 1), (60, 2), (120, 5)):
            metric = Metric(name=name, description="How long it took, in words", unit="s")
            metric.histogram.aggregation_temporality = (
                AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            )
            point = metric.histogram.data_points.add(
                count=count, sum=3 * count, bucket_counts=[0, count, 0], explicit_bounds=[1, 5],
                time_unix_nano=NOW_NS + moment * S, attributes=attributes({"model": model}),
            )  # fmt: skip
            if moment == 60:
                point.exemplars.add(
                    as_double=3.5,
                    time_unix_nano=NOW_NS + 61 * S,
                    trace_id=trace,
                    span_id=bytes.fromhex(child),
                )
            send("metrics", metrics_request(metric))

    place.do(put)
    return {"trace": trace.hex(), "model": model, "name": name}


def test_a_metric_is_found_explained_drawn_and_leads_to_its_trace(
    at: Page, place: Place, measured: dict[str, str]
) -> None:
    at.goto(f"{place.url}/explore?from={NOW_S - 60}&to={NOW_S + 240}&step=15")
    at.locator("[data-metrics-filter]").fill(f"{measured['name']} in words")
    listed = at.locator("[data-metrics-list] li:visible")
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text("histogram, s")
    listed.get_by_role("link").click()
    expect(at).to_have_url(re.compile(rf"query=histogram_quantile.*{measured['name']}_bucket.*"))
    assert "step=15" in at.url
    expect(at.locator("[data-meaning]")).to_contain_text("How long it took, in words")
    expect(at.locator("[data-plot] canvas")).to_be_visible()
    expect(at.locator("[data-values] tbody tr")).to_have_count(1)
    expect(at.locator("[data-values] td.number")).to_have_text(re.compile(r" s$"))
    dot = at.locator(".exemplar").first
    expect(dot).to_have_attribute("aria-label", re.compile(rf"3\.5 s at .*{measured['trace']}"))
    dot.click()
    expect(at).to_have_url(re.compile(rf"/traces/{measured['trace']}"))


def test_a_trace_leads_to_what_was_measured_in_it(at: Page, place: Place, measured: dict[str, str]) -> None:
    at.goto(f"{place.url}/traces/{measured['trace']}")
    row = at.locator("[data-measured] li")
    expect(row).to_contain_text("3.5 s")
    row.get_by_role("button", name="vae_decode").click()
    expect(at.locator(".span[aria-selected=true]")).to_contain_text("vae_decode")
    at.locator("[data-around]").get_by_role("link", name=measured["name"]).click()
    expect(at).to_have_url(re.compile("/explore"))
    expect(at.locator("[data-plot] .legend button")).to_have_count(1)
    expect(at.locator(".exemplar")).to_have_count(1)


def test_a_query_runs_by_enter_and_its_error_is_prometheus_own(at: Page, place: Place) -> None:
    at.goto(f"{place.url}/explore")
    at.locator("[data-query]").fill("sum(rate(x)")
    at.locator("[data-query]").press("Enter")
    expect(at).to_have_url(re.compile("query=sum"))
    expect(at.locator("[data-query-problem]")).to_have_text(
        'bad_data: invalid parameter "query": 1:12: parse error: unclosed left parenthesis'
    )
    at.locator("[data-query]").fill("vector(2) < bool 3")
    at.locator("[data-query]").press("Enter")
    expect(at.locator("[data-values] td.number")).to_have_text("1")
    expect(at.locator("[data-query-problem]")).to_be_hidden()


def test_times_are_typed_in_local_time_and_sent_in_seconds(at: Page, place: Place) -> None:
    at.goto(f"{place.url}/traces?from={NOW_S}&to={NOW_S + 60}")
    shown = at.locator("input[name=from]").input_value()
    assert at.evaluate("text => new Date(text).getTime() / 1000", shown) == NOW_S
    at.locator("input[name=service]").fill("x")
    at.locator("input[name=attribute]").fill("shard=7")
    at.get_by_role("button", name="Search").last.click()
    given = f"service=x&attribute=shard%3D7&from={NOW_S}&to={NOW_S + 60}"
    expect(at).to_have_url(f"{place.url}/traces?{given}")
    at.locator("input[name=attribute]").last.fill("gpu")
    at.locator("input[name=attribute]").last.press("Enter")
    expect(at).to_have_url(f"{place.url}/traces?{given.replace('&from', '&attribute=gpu&from')}")


@pytest.mark.parametrize("path", ["/logs", "/explore", "/traces?max_duration_ms=abc", "/logs?from=1"])
def test_a_phone_shows_them_without_scrolling_sideways(at: Page, place: Place, path: str) -> None:
    at.set_viewport_size({"width": 390, "height": 844})
    at.goto(place.url + path)
    at.wait_for_load_state("load")
    assert at.evaluate("document.documentElement.scrollWidth") <= 390
