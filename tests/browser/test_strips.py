"""The strips of a video's page: a step's parts, and what the GPU did."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import WATERFALL, Site, box_of
from web.gpu_readings import add_gpu
from web.rows import MS, add_video

pytestmark = pytest.mark.browser


def test_a_sampled_steps_parts_are_split_summed_up_and_folded_under_it(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/videos/{site.rows['failed'].request_id}")
    bars = page.locator("rushes-steps .step-bar")
    kinds = ["spatial", "temporal", "cross", "ffn", "other"]
    assert bars.nth(1).locator("i").evaluate_all("e => e.map((i) => i.dataset.part)") == kinds
    assert bars.nth(2).locator("i").evaluate_all("e => e.map((i) => i.dataset.stage)") == ["dit"]
    rows = page.locator(".step-mean li")
    expect(rows).to_have_count(5)
    expect(rows.nth(1)).to_contain_text(re.compile(r"Temporal attention\s*\d+ ms34\.0 %"))
    shares = [float(share.rstrip(" %")) for share in rows.locator(".share").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    expect(page.locator(".mean-head")).to_contain_text(
        "mean of the 2 sampled steps of 18, by the GPU's clock"
    )
    expect(page.locator(".mean-body")).to_contain_text("the 16 steps that were timed as a whole")

    step = page.locator(WATERFALL, has=page.locator("text=/^step_12$/"))
    expect(step).to_have_attribute("aria-expanded", "false")
    assert step.locator(".bar i").evaluate_all("e => e.map((i) => i.dataset.part)") == kinds
    step.locator(".twist").click()
    part = page.locator(f"{WATERFALL}[data-sum]")
    expect(part).to_have_count(5)
    expect(part.first).to_have_attribute("aria-label", re.compile("a sum over 28 modules, laid end to end"))
    colours = [
        place.evaluate("e => getComputedStyle(e).backgroundColor")
        for place in (part.first.locator(".bar"), rows.first.locator(".swatch"))
    ]
    assert colours[0] == colours[1], "a kind keeps its colour"
    part.first.click()
    expect(page.locator(".drawer")).to_contain_text("A sum over 28 modules, laid end to end")
    step.locator(".label").click()
    expect(page.locator(".drawer .part-list li")).to_have_count(5)


def test_the_first_step_is_left_out_of_the_mean_and_cached_modules_are_told(page: Page, site: Site) -> None:
    row = add_video(site.room, "cached", site.room.now_ns, steps=3, done=3)
    shares = ({"joint_attn": 900, "other": 100}, {"joint_attn": 200, "other": 800}, {"block": 600})
    for spans in (site.room.traces.rows[row.trace_id],):
        steps = [s for s in spans if s.name.startswith("step_")]
        for number, (step, parts) in enumerate(zip(steps, shares, strict=True)):
            given: dict[str, Any] = {
                "rushes.ns.total": 1000,
                **{f"rushes.ns.{kind}": ns for kind, ns in parts.items()},
                **({"rushes.first_step": True} if number == 0 else {}),
                **({"rushes.executed.joint_attn": 7, "rushes.skipped.joint_attn": 21} if number == 1 else {}),
                **({"rushes.granularity": "block"} if number == 2 else {}),
            }
            spans[spans.index(step)] = replace(step, attributes=given)
    page.goto(f"{site.url}/videos/{row.request_id}")
    head, body = page.locator(".mean-head"), page.locator(".mean-body")
    expect(head).to_contain_text("the 2 sampled steps of 3")
    expect(head).to_contain_text("the first is left out, as it pays for warming up")
    rows = body.locator("li")
    expect(rows).to_have_text(
        [
            re.compile(r"Joint attention 75\.0 % from cache.*10\.0 %"),
            re.compile(r"Compiled blocks.*30\.0 %"),
            re.compile(r"Other.*60\.0 %"),  # 800 of one step, and 400 that no block took of the other
        ]
    )
    expect(body).to_contain_text("its blocks are timed whole")


def test_unsampled_steps_have_plain_bars_and_no_summary(page: Page, site: Site) -> None:
    row = add_video(site.room, "short", site.room.now_ns, steps=1, done=1)
    page.goto(f"{site.url}/videos/{row.request_id}")
    expect(page.locator("rushes-steps .step-bar i")).to_have_attribute("data-stage", "dit")
    expect(page.locator(".step-mean")).to_be_hidden()


def test_the_vaes_parts_are_folded_under_it(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/videos/{site.rows['done'].request_id}")
    vae = page.locator(WATERFALL, has_text="vae_decode")
    expect(vae).to_have_attribute("aria-expanded", "false")
    vae.locator(".twist").click()
    part = page.locator(WATERFALL, has_text="temporal_upsample")
    assert "sum" in part.locator(".label").evaluate("e => getComputedStyle(e, '::after').content")
    assert part.locator(".critical").count() == 0


def test_a_renders_gpu_lies_on_the_axis_of_its_trace(page: Page, site: Site) -> None:
    row = site.rows["done"]
    add_gpu(site.room, row, hot=True)
    page.goto(f"{site.url}/videos/{row.request_id}")
    lanes = page.locator(".gpu-label")
    expect(lanes).to_have_text(
        [
            re.compile("Utilisation.*mean 9[0-9].* %"),
            re.compile("Memory.*most 73.2 GB"),
            re.compile("Power.*mean 6[0-9]+ W"),
            re.compile("Temperature.*most 86 .C"),
        ]
    )
    expect(page.locator(".gpu-said")).to_contain_text("throttled by heat (hardware)")
    expect(page.locator(".gpu-said")).to_contain_text("XID 94")
    throttle = box_of(page.locator(".gpu-mark.throttle"))
    plot = box_of(page.locator(".gpu-plot").nth(1))
    root = box_of(page.locator(f"{WATERFALL} .bar").first)
    assert (plot["x"], plot["width"]) == pytest.approx((root["x"], root["width"]), abs=1.5), "one axis"
    assert plot["x"] < throttle["x"] < plot["x"] + plot["width"]
    assert page.locator(".gpu-line").first.get_attribute("d") not in ("", None)
    page.locator(".gpu-plot").nth(1).hover(position={"x": plot["width"] / 2, "y": 10})
    expect(lanes.nth(1)).to_contain_text("71.2 GB")
    expect(page.locator("rushes-waterfall .cursor-line")).to_be_visible()
    page.locator(".gpu-plot").nth(1).hover(position={"x": 1, "y": 10})
    expect(lanes.nth(0)).to_contain_text("0 %")


def test_a_render_without_readings_says_why(page: Page, site: Site) -> None:
    row = site.rows["done"]
    page.goto(f"{site.url}/videos/{row.request_id}")
    strip = page.locator("[data-gpu-strip]")
    expect(strip).to_contain_text("GPU metrics were not recorded")
    spans = site.room.traces.rows[row.trace_id]
    site.room.traces.rows[row.trace_id] = [
        replace(s, attributes={k: "host" if k == "rushes.clock" else v for k, v in s.attributes.items()})
        for s in spans
    ]
    page.reload()
    expect(strip).to_contain_text("No GPU: this render ran on the CPU")


def test_readings_that_come_late_are_drawn_on_the_open_page(page: Page, site: Site) -> None:
    row = site.rows["running"]
    page.goto(f"{site.url}/videos/{row.request_id}")
    expect(page.locator("[data-live]:visible")).to_have_text("Live")
    expect(page.locator(".gpu-line")).to_have_count(0)
    add_gpu(site.room, row)
    site.room.now_ns += 3000 * MS
    site.live.notify("traces", [row.trace_id])
    expect(page.locator(".gpu-line")).to_have_count(4)


def test_of_many_gpus_the_first_are_shown_whole(page: Page, site: Site) -> None:
    row = site.rows["done"]
    for index in range(4):
        add_gpu(site.room, row, index=index, silent=True)
    page.goto(f"{site.url}/videos/{row.request_id}")
    expect(page.locator(".gpu-label")).to_have_count(2 * 4 + 2)
    expect(page.locator(".gpu-name").first).to_contain_text("not throttled")
    page.locator(".gpu-name").nth(3).click()
    expect(page.locator(".gpu-label")).to_have_count(3 * 4 + 1)
    path = page.locator(".gpu-line").first.get_attribute("d") or ""
    assert path.count("M") == 2, "a gap in the readings is one in the line"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440


@pytest.mark.parametrize("width", [390, 1440])
def test_a_gpus_name_of_any_length_leaves_the_page_its_width(page: Page, site: Site, width: int) -> None:
    add_gpu(site.room, site.rows["done"], kind="n" * 10_000)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{site.url}/videos/{site.rows['done'].request_id}")
    expect(page.locator(".gpu-line")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
