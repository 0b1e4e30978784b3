"""Pages: what they show of what is stored, and what they answer when it is not there."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from rushes.query import Readers, SpanFilter
from rushes.web.api import routes
from telemetry_store import shared_store
from web.fakes import Room
from web.rows import MS, HostileText, add_fleet, add_video, fill_room

PAGES = ("/", "/videos", "/traces", "/logs", "/explore")


def page_data(html: str, block: str = "page-data") -> Any:
    found = re.search(rf'<script type="application/json" id="{block}">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize(
    "path", [*PAGES, "/videos/nothing", "/static/js/main.js", "/healthz", "/api/v1/query"]
)
def test_every_answer_forbids_foreign_and_inline_code(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_inline_code_or_styles_or_names_another_host(
    room: Room, client: TestClient, path: str
) -> None:
    fill_room(room)
    html = client.get(path).text
    assert not re.search(r"\son\w+\s*=|\sstyle\s*=|<style|javascript:", html)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', html)
    for script in re.findall(r"<script[^>]*>", html):
        assert "src=" in script or 'type="application/json"' in script


def test_an_empty_list_shows_the_command_that_fills_it(client: TestClient) -> None:
    html = client.get("/videos").text
    assert 'rushes generate "a blue square moves left" --model OPENSORA' in html.replace("&#34;", '"')


def test_prompts_that_the_small_models_understand_are_suggested(room: Room, client: TestClient) -> None:
    html = client.get("/videos").text
    assert '<details class="ideas" open>' in html
    assert "The models that come with Rushes are small" in html
    add_video(room, "a", room.now_ns)
    html = client.get("/videos").text
    assert '<details class="ideas">' in html  # there is something to look at now


def test_the_list_says_how_each_video_stands(room: Room, client: TestClient) -> None:
    done = add_video(room, "a", room.now_ns - 60_000 * MS)
    running = add_video(room, "b", room.now_ns - 30_000 * MS, model="LTX2", steps=40, done=14)
    html = client.get("/videos").text
    assert html.index(running.request_id) < html.index(done.request_id), "newest first"
    assert ">Generating</span>" in html
    assert "14/40" in html
    assert 'value="14"' in html
    assert f'href="/videos/{done.request_id}"' in html


def test_the_list_is_filtered_by_its_url(room: Room, client: TestClient) -> None:
    done = add_video(room, "a", room.now_ns - 60_000 * MS)
    running = add_video(room, "b", room.now_ns - 30_000 * MS, model="LTX2", done=14)
    html = client.get("/videos", params={"status": "generating", "model": "LTX2"}).text
    assert running.request_id in html
    assert done.request_id not in html
    assert "No video fits" in client.get("/videos?model=VEO3").text


def test_a_full_list_links_to_older_videos(room: Room, client: TestClient) -> None:
    rows = [add_video(room, f"n{n}", room.now_ns - n * 60_000 * MS, steps=1) for n in range(101)]
    html = client.get("/videos").text
    assert rows[100].request_id not in html
    older = re.search(r'href="(/videos[^"]*before_ns=\d+)"', html)
    assert older
    second = client.get(older[1].replace("&amp;", "&")).text
    assert rows[100].request_id in second
    assert rows[99].request_id not in second
    assert 'data-live-from=""' in second, "old pages don't change"


def test_pages_leave_out_no_video_of_the_millisecond_between_them(room: Room, client: TestClient) -> None:
    added = {
        add_video(room, f"n{n}", room.now_ns - n * 1000, steps=1).request_id for n in range(150)
    }  # seven of a microsecond each
    shown: set[str] = set()
    url = "/videos"
    for _ in range(2):
        html = client.get(url).text
        shown |= set(re.findall(r'href="/videos/(video_\w+)"', html))
        older = re.search(r'href="(/videos[^"]*before_ns=\d+)"', html)
        url = older[1].replace("&amp;", "&") if older else ""
    assert shown == added
    assert not url


@pytest.mark.parametrize(
    "path",
    [
        "/videos?status=dancing",
        "/videos?model=%3Cb%3E",
        "/videos?before_ns=yesterday",
        f"/videos?before_ns={'9' * 400}",
        f"/videos?before_ns={'9' * 5000}",
        "/traces?attribute=%3Db%3E",
        "/traces?order=%3Cb%3E",
        "/logs?min_level=%3Cb%3E",
        "/logs?trace_id=1",
        "/traces?status=dancing",
        "/traces?min_duration_ms=-1",
        "/traces?min_duration_ms=nan",
        f"/traces?min_duration_ms={'9' * 400}",
    ],
)
def test_a_filter_that_means_nothing_is_refused_in_words(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert "must be" in answer.text
    assert "<b>" not in answer.text


def test_a_videos_page_tells_its_story(room: Room, client: TestClient) -> None:
    row = add_video(room, "a", room.now_ns - 60_000 * MS)
    answer = client.get(f"/videos/{row.request_id}")
    assert answer.status_code == 200
    assert f'src="/media/{row.media}"' in answer.text
    assert "Completed in 46.8 s" in answer.text
    assert "98.7 %" in answer.text
    data = page_data(answer.text)
    assert [s["name"] for s in data["trace"]["spans"]][:2] == ["video_generation_request", "gateway"]
    assert data["logs"][0]["event"] == "generation.job.accepted"
    assert max(data["video"]["stages"], key=lambda s: s["ns"])["name"] == "DiT inference"


def test_a_failed_video_says_what_happened_where_and_what_to_do(room: Room, client: TestClient) -> None:
    row = add_video(room, "a", room.now_ns - 60_000 * MS, error="CUDA out of memory on pod-1")
    html = client.get(f"/videos/{row.request_id}").text
    assert "The GPU ran out of memory. Ask for fewer seconds" in html
    assert "in step_30" in html
    assert "CUDA out of memory on pod-1" in html
    assert "<video" not in html


def test_a_killed_workers_video_says_so_and_shows_what_it_had_done(room: Room, client: TestClient) -> None:
    error = "worker generate-0 (pid 41) died while generating, at step 6 of 10; submit the video again"
    row = add_video(room, "a", room.now_ns - 60_000 * MS, steps=10, error=error, killed=True)
    html = client.get(f"/videos/{row.request_id}").text
    told = html.index(
        "Worker generate-0 (pid 41) died while generating, at step 6 of 10; submit the video again."
    )
    assert told < html.index("Where the time went"), "before everything else of the story"
    assert "hit an error of its own" not in html
    data = page_data(html)
    spans = {s["name"]: s for s in data["trace"]["spans"]}
    root = spans["video_generation_request"]
    assert [s["parent"] for s in data["trace"]["spans"]].count(None) == 1
    for number in range(1, 7):
        step = spans[f"step_{number}"]
        assert (step["parent"], step["stage"]) == (root["id"], "dit")
        assert step["missing_parent"] not in {s["id"] for s in spans.values()}
    assert "missing_parent" not in spans["gateway"]
    inference = next(s for s in data["video"]["stages"] if s["name"] == "DiT inference")
    assert inference["ns"] > 6 * 600 * MS
    trace = client.get(f"/traces/{row.trace_id}").text
    assert page_data(trace)["trace"] == data["trace"]


@pytest.mark.parametrize("path", ["/videos/video_000", "/traces/" + "0" * 32, "/traces/xyz", "/nowhere"])
def test_what_is_not_there_is_a_clear_404(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Not found" in answer.text
    assert 'href="/videos"' in answer.text


@pytest.mark.parametrize("path", [f"/videos/video_{'0' * 32}", f"/traces/{'0' * 32}"])
def test_what_may_still_come_is_looked_for_again(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["refresh"] == "2"
    assert "looks again every 2 seconds" in answer.text


@pytest.mark.parametrize("path", ["/videos/video_000", "/traces/xyz", "/nowhere", "/find?q=%3F"])
def test_what_can_never_come_is_not(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "refresh" not in answer.headers
    assert "looks again" not in answer.text


def test_an_unknown_address_is_named_and_the_pages_with_it(client: TestClient) -> None:
    html = client.get("/nowhere/at/all").text
    assert "There is nothing at &#39;/nowhere/at/all&#39;. Go to Operations" in html
    assert "Not Found" not in html


def test_a_job_whose_steps_are_done_decodes(room: Room, client: TestClient) -> None:
    row = add_video(room, "a", room.now_ns - 30_000 * MS, steps=20, done=20)
    assert ">Decoding</span>" in client.get("/videos").text
    html = client.get(f"/videos/{row.request_id}").text
    assert ">Decoding</span>" in html
    assert "Generating" not in html
    room.videos.change(row.request_id, step=19)
    assert "Generating, step 19 of 20" in client.get(f"/videos/{row.request_id}").text


def test_a_job_at_work_that_is_silent_for_a_minute_says_since_when(room: Room, client: TestClient) -> None:
    row = add_video(room, "a", room.now_ns - 30_000 * MS, steps=20, done=2)
    silent = re.compile(
        r'data-(?:field="silent"|silent)>no news since <rushes-time clock ms="(\d+)">(\d\d:\d\d) UTC<'
    )
    paths = ("/videos", f"/videos/{row.request_id}")
    last = datetime.fromisoformat(str(room.logs.rows[-1]["timestamp"]))
    room.now_ns = int(last.timestamp()) * 1_000_000_000 + 59_000 * MS
    assert not any(silent.search(client.get(path).text) for path in paths)
    room.now_ns += 6_000 * MS
    for path in paths:
        found = silent.search(client.get(path).text)
        assert found, path
        assert (int(found[1]), found[2]) == (round(last.timestamp() * 1000), f"{last:%H:%M}")
    for status in ("waiting", "completed"):
        room.videos.change(row.request_id, status=status)
        assert not any(silent.search(client.get(path).text) for path in paths), status


def test_an_unknown_level_is_refused_by_the_names_of_the_known_ones() -> None:
    with TestClient(Starlette(routes=routes(Readers.over(shared_store())))) as api:
        answer = api.get("/api/logs?level=zzz")
        assert answer.status_code == 400
        assert all(
            name in answer.json()["error"] for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
        )
        assert "'zzz'" in answer.json()["error"]
        assert api.get("/api/logs?level=warning").status_code == 200


@pytest.mark.parametrize("path", ["/api/v9/x", "/live/videos/none", "/media/none"])
def test_scripts_get_errors_as_json(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_hostile_ids_never_reach_the_page_as_markup(client: TestClient) -> None:
    answer = client.get("/videos/<script>alert(1)<script>")
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text


def test_hostile_attributes_stay_data(room: Room, client: TestClient) -> None:
    row = add_video(room, "a", room.now_ns, steps=2, attributes={"note": HostileText, HostileText: "x"})
    for path in (f"/videos/{row.request_id}", f"/traces/{row.trace_id}"):
        html = client.get(path).text
        assert "<script>window" not in html
        assert "<img" not in html
        steps = [s for s in page_data(html)["trace"]["spans"] if s["name"] == "step_1"]
        assert steps[0]["attrs"]["note"] == HostileText


def test_a_trace_without_the_studio_has_its_page(room: Room, client: TestClient) -> None:
    row = add_video(room, "a", room.now_ns)
    room.videos.rows = {}
    html = client.get(f"/traces/{row.trace_id}").text
    assert "video_generation_request" in html
    assert f'href="/videos/{row.request_id}"' in html
    assert row.trace_id in client.get("/traces").text


def test_the_list_of_traces_passes_its_filters_on(room: Room, client: TestClient) -> None:
    add_video(room, "a", room.now_ns)
    failed = add_video(room, "b", room.now_ns, error="oom")
    html = client.get("/traces?service=s&name=step_1&min_duration_ms=250&status=error").text
    assert failed.trace_id in html
    asked = SpanFilter(service="s", name="step_1", min_duration_ms=250, status="error")
    assert room.traces.asked[-1] == (asked, "newest")


@pytest.mark.parametrize(
    ("text", "path"),
    [("AB" * 16, "/traces/" + "ab" * 16), ("video_1234", "/videos/video_1234")],
)
def test_any_id_is_found(client: TestClient, text: str, path: str) -> None:
    answer = client.get("/find", params={"q": text}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == path


@pytest.mark.parametrize("text", ["", "//evil.example", "a b", "../x"])
def test_what_is_no_id_goes_nowhere(client: TestClient, text: str) -> None:
    assert client.get("/find", params={"q": text}, follow_redirects=False).status_code == 404


def test_operations_evaluates_its_panels_over_the_urls_range(room: Room, client: TestClient) -> None:
    add_fleet(room.promql)
    data = page_data(client.get("/?range=6h").text, "operations-data")
    assert data["end"] - data["start"] == 6 * 3600
    assert data["live"]
    assert data["data"]["success-rate"]["value"] == pytest.approx(99.2, abs=1)
    assert any("[21600s]" in expr for expr in room.promql.asked)
    fixed = page_data(client.get("/?from=1789990000&to=1789993600").text, "operations-data")
    assert (fixed["start"], fixed["end"], fixed["live"]) == (1789990000, 1789993600, False)


@pytest.mark.parametrize(
    "query", ["range=9y", "from=1&to=0", "to=5", "from=x", "from=1790000000000&to=1790000003600"]
)
def test_a_range_that_cannot_be_read_is_refused_in_words(client: TestClient, query: str) -> None:
    for path in ("/", "/live/operations"):
        answer = client.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert "range" in answer.text or "write" in answer.text


def test_one_broken_panel_leaves_the_others(room: Room, client: TestClient) -> None:
    add_fleet(room.promql)
    room.promql.broken = "queue_wait"
    data = page_data(client.get("/").text, "operations-data")["data"]
    assert "failed" in data["wait-standard"]["error"]
    assert data["active-jobs"]["value"] > 0


def test_health_is_the_process_and_readiness_the_store(room: Room, client: TestClient) -> None:
    assert client.get("/readyz").json() == {"ready": True, "spans": 7}
    room.healthy = False
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "disk" not in answer.text
    assert client.get("/healthz").json() == {"status": "ok"}


def test_a_fault_is_a_page_with_its_headers_and_without_its_cause(room: Room, client: TestClient) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise OSError("secret path")

    room.videos.list = broken  # type: ignore[method-assign] # a store that fails
    answer = client.get("/videos")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
