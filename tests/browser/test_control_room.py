"""The control room in a browser: what is drawn, what keys and clicks do, what live updates change."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import WATERFALL, Site, box_of, open_page
from web.rows import MS, add_video

pytestmark = pytest.mark.browser


def test_a_video_plays_and_seeks(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/videos/{site.rows['done'].request_id}")
    video = page.locator("video")
    length = video.evaluate(
        "v => new Promise((done) => v.readyState ? done(v.duration)"
        " : v.addEventListener('loadedmetadata', () => done(v.duration)))"
    )
    assert length == pytest.approx(2, abs=0.2)
    reached = video.evaluate(
        "v => new Promise((done) => { v.addEventListener('seeked', () => done(v.currentTime)); v.currentTime = 1.5; })"
    )
    assert reached == pytest.approx(1.5)


def test_a_waterfall_of_three_hundred_steps(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/traces/{site.rows['large'].trace_id}")
    expect(page.locator(WATERFALL)).to_have_count(322)
    step = page.locator(WATERFALL, has_text="step_300")
    step.scroll_into_view_if_needed()
    assert box_of(step.locator(".bar"))["width"] >= 2
    first, last = (
        box_of(page.locator(WATERFALL, has=page.locator(f"text=/^{name}$/")).locator(".bar"))
        for name in ("step_1", "step_300")
    )
    assert last["x"] > first["x"] + 300, "bars lie on a shared axis"


def test_a_videos_page_shows_its_steps_in_their_strip_and_opens_them(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/videos/{site.rows['large'].request_id}")
    expect(page.locator("rushes-steps .step-bar")).to_have_count(300)
    loop = page.locator(WATERFALL, has_text="denoising_loop")
    expect(loop).to_have_attribute("aria-expanded", "false")
    loop.locator(".twist").click()
    expect(page.locator(WATERFALL)).to_have_count(322)


def test_a_killed_workers_steps_lie_under_the_root_and_say_that_their_parent_is_missing(
    page: Page, site: Site
) -> None:
    error = "worker generate-0 (pid 41) died while generating, at step 6 of 10; submit the video again"
    row = add_video(site.room, "killed", site.room.now_ns, steps=10, error=error, killed=True)
    page.goto(f"{site.url}/videos/{row.request_id}")
    expect(page.locator("[data-failure-words]")).to_have_text(f"W{error[1:]}.")
    expect(page.locator("[data-failure-where]")).to_be_hidden()
    step = page.locator(WATERFALL, has_text="step_6")
    expect(step).to_have_attribute("aria-level", "2")
    expect(step).to_have_attribute("aria-label", re.compile("its parent never came"))
    assert "parent missing" in step.locator(".label").evaluate("e => getComputedStyle(e, '::after').content")
    step.click()
    expect(page.locator(".drawer")).to_contain_text("never came")
    expect(page.locator(WATERFALL, has_text="x264")).to_have_count(0)


def test_a_click_opens_the_drawer_beside_the_row_and_escape_closes_it(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/traces/{site.rows['done'].trace_id}")
    row = page.locator(WATERFALL, has_text="step_4").first
    row.click()
    drawer = page.locator(".drawer")
    expect(drawer).to_be_visible()
    expect(drawer).to_contain_text("step_duration_ms")
    row_box, drawer_box = box_of(row), box_of(drawer)
    assert row_box["x"] + row_box["width"] <= drawer_box["x"], "the drawer covers no row"
    assert "#span=" in page.url
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()


def test_the_waterfall_by_keyboard(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/traces/{site.rows['done'].trace_id}")
    page.keyboard.press("j")
    expect(page.locator(WATERFALL).first).to_be_focused()
    page.keyboard.press("j")
    gateway = page.locator(WATERFALL).nth(1)
    expect(gateway).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(gateway).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("ArrowRight")
    expect(gateway).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Enter")
    expect(page.locator(".drawer h2")).to_have_text("gateway")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".drawer h2")).to_have_text("auth.validate")
    page.keyboard.press("Escape")
    expect(page.locator(WATERFALL).nth(2)).to_be_focused()


def test_a_link_to_a_span_opens_it(page: Page, site: Site) -> None:
    row = site.rows["done"]
    span = next(s for s in site.room.traces.get(row.trace_id) if s.name == "step_40")
    page.goto(f"{site.url}/videos/{row.request_id}#span={span.span_id}")
    expect(page.locator(".drawer h2")).to_have_text("step_40")
    expect(page.locator(WATERFALL, has_text="step_40")).to_be_in_viewport()


def test_dragging_zooms_the_shared_axis_and_escape_resets_it(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/traces/{site.rows['done'].trace_id}")
    axis = box_of(page.locator(".axis"))
    page.mouse.move(axis["x"] + axis["width"] * 0.5, axis["y"] + 10)
    page.mouse.down()
    page.mouse.move(axis["x"] + axis["width"] * 0.6, axis["y"] + 10, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Reset zoom")).to_be_visible()
    expect(page.locator(".axis span").first).not_to_have_text("0 s")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Reset zoom")).to_be_hidden()


def test_the_cursor_is_the_same_in_waterfall_and_steps(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/videos/{site.rows['done'].request_id}")
    box = box_of(page.locator(".steps-plot"))
    page.locator(".steps-plot").hover(position={"x": box["width"] / 2, "y": 20})
    upper = page.locator("rushes-waterfall .cursor-line")
    expect(upper).to_be_visible()
    assert abs(box_of(upper)["x"] - box_of(page.locator(".steps-plot .cursor-line"))["x"]) < 2


def test_failed_spans_are_hatched_and_found_by_key(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/videos/{site.rows['failed'].request_id}")
    expect(page.locator(".failure")).to_contain_text("The GPU ran out of memory")
    bar = page.locator(f"{WATERFALL}[data-error] .bar").last
    assert "repeating-linear-gradient" in bar.evaluate("e => getComputedStyle(e).backgroundImage")
    page.locator("[data-failure-where]").click()
    expect(page.locator(".drawer")).to_contain_text("CUDA out of memory")


def test_hostile_attributes_are_inert(page: Page, site: Site) -> None:
    row = site.rows["hostile"]
    page.goto(f"{site.url}/videos/{row.request_id}")
    page.locator(WATERFALL, has_text="step_2").click()
    expect(page.locator(".drawer")).to_contain_text("<script>window.__owned = 1</script>")
    assert page.evaluate("window.__owned") is None
    assert page.locator(".drawer script, .drawer img").count() == 0


def test_the_theme_is_chosen_kept_and_painted(browser: Browser, site: Site) -> None:
    page = open_page(browser, site, color_scheme="light")
    page.goto(f"{site.url}/videos")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.locator("[data-theme-select]").select_option("dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.goto(f"{site.url}/traces")
    assert page.evaluate(ground) == dark, "kept for the next page"
    page.locator("[data-theme-select]").select_option("system")
    assert page.evaluate(ground) == light
    page.context.close()


def test_a_running_video_grows_without_moving_what_is_read(page: Page, site: Site) -> None:
    row = site.rows["running"]
    page.goto(f"{site.url}/videos/{row.request_id}")
    expect(page.locator(".headline")).to_have_text("Generating, step 14 of 40")
    expect(page.locator("[data-live]:visible")).to_have_text("Live")
    lines = page.locator(".log-lines")
    lines.evaluate("e => { e.scrollTop = 0; }")
    spans = site.room.traces.get(row.trace_id)
    last = next(s for s in spans if s.name == "step_14")
    line = next(x for x in site.room.logs.rows if x["span_id"] == last.span_id)
    for number in (15, 16):
        at = last.start_ns + (number - 14) * 400 * MS
        site.room.traces.put([replace(last, name=f"step_{number}", span_id=f"{number:016x}", start_ns=at)])
        site.room.logs.rows = [
            *site.room.logs.rows,
            {**line, "timestamp": f"2099-01-01T00:00:{number}.000Z", "span_id": f"{number:016x}"},
        ]
    site.room.videos.change(row.request_id, step=16)
    site.live.notify("traces", [row.trace_id])
    expect(page.locator(".headline")).to_have_text("Generating, step 16 of 40")
    expect(page.locator(WATERFALL, has_text="step_16")).to_have_count(1)
    expect(page.locator(".log-new")).to_have_text("2 new")
    assert lines.evaluate("e => e.scrollTop") == 0
    page.locator(".log-new").click()
    expect(page.locator(".log-new")).to_be_hidden()
    expect(page.locator(".log-line").last).to_be_in_viewport()


def test_a_new_video_slides_into_the_list_and_its_steps_count_up(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/videos")
    expect(page.locator("[data-live]:visible")).to_have_text("Live")
    new = add_video(site.room, "new", site.room.now_ns, model="VEO3", steps=30, done=2)
    site.live.notify("logs", [new.trace_id])
    row = page.locator(f'tr[data-id="{new.request_id}"]')
    expect(row).to_contain_text("2/30")
    expect(page.locator("tbody tr").first).to_have_attribute("data-id", new.request_id)
    site.room.videos.change(new.request_id, step=3)
    site.live.notify("logs", [new.trace_id])
    expect(row).to_contain_text("3/30")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(new.request_id))


def test_operations_draws_plots_that_zoom_toggle_and_isolate(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/")
    expect(page.locator("#success-rate .stat-value")).to_contain_text("%")
    expect(page.locator("#waiting-realtime")).to_contain_text("no data yet")
    expect(page.locator("#by-model .row").first).to_contain_text("45.2 k")
    legend = page.locator("#step-duration .legend button")
    expect(legend).to_have_count(6)
    legend.nth(1).click()
    expect(legend.nth(1)).to_have_attribute("aria-pressed", "false")
    legend.nth(0).dblclick()
    expect(page.locator('#step-duration .legend button[aria-pressed="true"]')).to_have_count(1)
    plot = box_of(page.locator("#latency .u-over"))
    page.mouse.move(plot["x"] + 100, plot["y"] + 50)
    expect(page.locator("#vae-decode .legend output").first).not_to_be_empty()
    page.mouse.down()
    page.mouse.move(plot["x"] + 300, plot["y"] + 50, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    expect(page.locator("#latency canvas")).to_be_visible()


def test_operations_is_kept_up_to_date(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/")
    expect(page.locator("[data-live]:visible")).to_have_text("Live")
    site.room.promql.recorded.insert(0, (r"^sum\(queue_depth_total\)", {}, lambda _t: 77.0))
    site.room.now_ns += 10_000 * MS
    site.live.notify("metrics", [])
    expect(page.locator("#active-jobs .stat-value")).to_have_text("77")


def test_palette_and_keys(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Ctrl K")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type(site.rows["done"].trace_id)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/traces/{site.rows['done'].trace_id}")
    expect(page.locator("[data-live]:visible")).to_have_text("Live")
    page.keyboard.press("/")
    page.keyboard.type("videos")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/videos")


def test_the_palette_finds_nothing_and_says_so(browser: Browser, site: Site) -> None:
    page = open_page(browser, site)
    page.goto(f"{site.url}/traces")
    page.keyboard.press("Control+k")
    page.keyboard.type("???")
    expect(page.get_by_role("dialog")).to_contain_text("Nothing found")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/find?q=%3F%3F%3F")
    expect(page.locator("main")).to_contain_text("neither a trace id nor a video's id")
    page.context.close()


def test_a_page_opened_too_early_comes_by_itself(browser: Browser, site: Site) -> None:
    page = open_page(browser, site)
    row = site.rows["done"]
    site.room.videos.rows.pop(row.request_id)
    page.goto(f"{site.url}/videos/{row.request_id}")
    expect(page.locator("main")).to_contain_text("looks again every 2 seconds")
    site.room.videos.put(row)
    expect(page.locator(".headline")).to_contain_text("Completed in")
    page.context.close()


def test_videos_sort_by_click_and_stay_sorted_while_rows_come_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/videos")
    expect(page.locator("[data-live]:visible")).to_have_text("Live")

    def column(key: str) -> list[float]:
        found = page.locator("tbody tr").evaluate_all(
            f"rows => rows.map((r) => r.querySelector('[data-label=\"{key}\"]').dataset.sort)"
        )
        return [float(x) for x in found if x]

    page.get_by_role("button", name="Took").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Took")
    assert column("Took") == sorted(column("Took"), reverse=True)
    page.get_by_role("button", name="Steps").click()
    page.get_by_role("button", name="Steps").click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Steps")
    assert column("Steps") == sorted(column("Steps"))
    new = add_video(site.room, "new", site.room.now_ns, model="VEO3", steps=900, done=1)
    site.live.notify("logs", [new.trace_id])
    row = page.locator(f'tr[data-id="{new.request_id}"]')
    expect(row).to_contain_text("1/900")
    assert column("Steps") == sorted(column("Steps"))
    site.room.videos.change(new.request_id, step=899)
    site.live.notify("logs", [new.trace_id])
    expect(page.locator("tbody tr").last).to_contain_text("899/900")
    site.room.videos.change(new.request_id, step=900)
    site.live.notify("logs", [new.trace_id])
    expect(row).to_contain_text("Decoding")


def test_a_silent_job_says_so_live_in_the_readers_zone(browser: Browser, site: Site) -> None:
    page = open_page(browser, site, timezone_id="Asia/Kathmandu")
    row = site.rows["running"]
    page.goto(f"{site.url}/videos/{row.request_id}")
    expect(page.locator("[data-live]:visible")).to_have_text("Live")
    expect(page.locator("[data-silent]")).to_be_hidden()
    site.room.now_ns += 600_000 * MS
    site.live.notify("logs", [row.trace_id])
    expect(page.locator("[data-silent]")).to_have_text(re.compile(r"no news since .*\d\d:\d\d$"))
    last = max(line["timestamp"] for line in site.room.logs.rows if line["trace_id"] == row.trace_id)
    there = datetime.fromisoformat(last).astimezone(ZoneInfo("Asia/Kathmandu"))
    expect(page.locator("[data-silent]")).to_contain_text(f"{there:%H:%M}")
    page.goto(f"{site.url}/videos")
    expect(page.locator(f'tr[data-id="{row.request_id}"] .silent')).to_contain_text(f"{there:%H:%M}")
    page.context.close()


@pytest.mark.parametrize("width", [390, 800, 1024, 1440])
@pytest.mark.parametrize("path", ["/", "/videos", "/traces", "video", "trace"])
def test_a_name_of_any_length_leaves_the_page_its_width(
    browser: Browser, site: Site, path: str, width: int
) -> None:
    long = "n" * 100_000
    row = replace(site.rows["failed"], model=long, tier=long, resolution=long)
    site.room.videos.put(row)
    spans = site.room.traces.rows[row.trace_id]
    site.room.traces.rows[row.trace_id] = [
        replace(s, name=long if s.name != "gateway" else s.name, service=long) for s in spans
    ]
    line = site.room.logs.rows[0]
    site.room.logs.rows.append(
        {**line, "trace_id": row.trace_id, "event": long, "component": long, "level": long[:32]}
    )
    site.room.promql.recorded.insert(0, (r"by \(model\)|by \(le, ?model\)", {"model": long}, lambda _t: 3.0))
    page = open_page(browser, site)
    page.set_viewport_size({"width": width, "height": 900})
    target = {"video": f"/videos/{row.request_id}", "trace": f"/traces/{row.trace_id}"}.get(path, path)
    page.goto(site.url + target)
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollHeight") < 8000
    assert not site.faults
    page.context.close()


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_values_and_shares_of_stages_keep_apart(page: Page, site: Site, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{site.url}/videos/{site.rows['done'].request_id}")
    gaps = page.evaluate(  # at once: the live page may draw them anew
        """() => [...document.querySelectorAll(".stage-list li")].flatMap((row) => {
          const [name, value, share] = [...row.querySelectorAll("span")].map((span) => {
            const text = document.createRange();
            text.selectNodeContents(span);
            return text.getBoundingClientRect();
          });
          return [value.left - name.right, share.left - value.right];
        })"""
    )
    assert min(gaps) >= 6


def test_escape_goes_back_from_a_zoom_to_the_range_it_began_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/?range=6h")
    plot = box_of(page.locator("#latency .u-over"))
    page.mouse.move(plot["x"] + 100, plot["y"] + 50)
    page.mouse.down()
    page.mouse.move(plot["x"] + 300, plot["y"] + 50, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    expect(page.locator("#latency canvas")).to_be_visible()
    page.locator("#latency").hover()
    page.locator("#latency").get_by_role("button", name="Expand").click()
    page.keyboard.press("Escape")
    expect(page.locator("#latency")).not_to_have_class(re.compile("expanded"))
    assert "from=" in page.url, "that only closed the panel"
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{site.url}/?range=6h")


def test_panels_say_that_they_load_until_they_are_drawn(browser: Browser, site: Site) -> None:
    page = open_page(browser, site)
    page.route("**/operations.js", lambda route: route.abort())
    page.goto(f"{site.url}/")
    assert set(page.locator("rushes-panel .body").all_inner_texts()) == {"loading"}
    page.context.close()


def test_the_largest_numbers_are_drawn_as_any_other(page: Page, site: Site) -> None:
    largest = iter(range(10**9))
    site.room.promql.recorded.insert(0, (r".", {}, lambda _t: (1.7e308, -1.7e308, 3.0)[next(largest) % 3]))
    page.goto(f"{site.url}/")
    expect(page.locator("#success-rate .spark path")).to_have_count(1)
    html = page.locator("[data-dashboard]").inner_html()
    assert "Infinity" not in html
    assert "NaN" not in html


def test_a_missed_target_is_read_whole(page: Page, site: Site) -> None:
    site.room.promql.recorded.insert(
        0,
        (r"^100 ", {}, lambda t: 12.5 if t > site.room.now_ns / 1e9 - 600 else None),
    )
    page.goto(f"{site.url}/")
    note = page.locator("#success-rate .stat-note")
    expect(note).to_contain_text("missed · no data the")
    assert note.evaluate("e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight")
    box, spark = box_of(note), box_of(page.locator("#success-rate .spark"))
    assert box["y"] + box["height"] <= spark["y"]


@pytest.mark.parametrize("path", ["/", "/videos", "/traces", "video", "trace"])
def test_a_phone_shows_every_page_without_scrolling_sideways(browser: Browser, site: Site, path: str) -> None:
    page = open_page(browser, site)
    page.set_viewport_size({"width": 390, "height": 844})
    row = site.rows["failed"]
    target = {"video": f"/videos/{row.request_id}", "trace": f"/traces/{row.trace_id}"}.get(path, path)
    page.goto(site.url + target)
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not site.faults
    page.context.close()


def test_numbers_in_the_browser_read_as_those_of_the_server(page: Page, site: Site) -> None:
    from rushes.web import numbers

    page.goto(f"{site.url}/videos")
    values = [0, 1e-9, 0.0000032, 0.00099951, 0.68, 0.9996, 1.2404, 59.4, 60, 135, 3599.6, 4320, 90_000, 1e6]
    shown = page.evaluate(
        """async (values) => {
          const n = await import("/static/js/numbers.js");
          return values.map((v) => [n.duration(v), n.count(v), n.percent(v)]);
        }""",
        values,
    )
    assert shown == [[numbers.duration(v), numbers.count(v), numbers.percent(v)] for v in values]
