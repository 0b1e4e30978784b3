"""Panels: a missing value is a gap, never zero; a declaration only asks for what the catalog declares."""

from __future__ import annotations

import re

import pytest

from rushes.catalog import METRICS
from rushes.dashboards import OPERATIONS, Kind, Panel, Query
from rushes.web.panels import PanelEvaluator, declaration
from rushes.web.timerange import TimeRange, parse
from web.fakes import FakePromQL

HOUR = TimeRange(36_000, 39_600, "1h")
STAT = Panel(id="s", title="S", kind=Kind.STAT, queries=(Query(expr="stat($__range)"),))
PLOT = Panel(
    id="p", title="P", kind=Kind.PLOT, queries=(Query(expr="plot[$__rate_interval]", legend="{model} P50"),)
)
BARS = Panel(
    id="b",
    title="B",
    kind=Kind.BARS,
    queries=(Query(expr="bars[$__range]", legend="{model}", window="24h"),),
    rows=("MOCHI1", "VEO3"),
)


def test_a_stat_has_its_value_and_that_of_the_period_before() -> None:
    promql = FakePromQL()
    promql.record("stat", {}, lambda t: t)
    data = PanelEvaluator(promql).panel(STAT, HOUR)
    assert data["value"] == 39_600
    assert data["before"] == pytest.approx(36_000, abs=HOUR.step_s * 4)
    assert len(data["spark"]) == 41


def test_a_stat_without_data_says_since_when() -> None:
    promql = FakePromQL()
    assert PanelEvaluator(promql).panel(STAT, HOUR) == {
        "value": None,
        "before": None,
        "spark": [],
        "last_s": None,
    }
    promql.record("stat", {}, lambda t: 5.0 if t < 38_000 else None)
    data = PanelEvaluator(promql).panel(STAT, TimeRange(36_001, 39_601, "1h"))
    assert data["value"] is None
    assert 37_500 < data["last_s"] < 38_000


def test_a_plots_missing_samples_are_gaps_and_so_is_nan() -> None:
    promql = FakePromQL()
    promql.record(
        "plot",
        {"model": "MOCHI1"},
        lambda t: None if 37_000 < t < 38_000 else float("nan") if t > 39_000 else t,
    )
    data = PanelEvaluator(promql).panel(PLOT, HOUR)
    values = data["series"][0]["values"]
    times = [data["start"] + at * data["step"] for at in range(data["points"])]
    assert data["series"][0]["name"] == "MOCHI1 P50"
    assert [v is None for v in values] == [37_000 < t < 38_000 or t > 39_000 for t in times]
    assert data["last_s"] == 39_000


def test_a_model_has_its_colour_whatever_else_is_shown() -> None:
    promql = FakePromQL()
    for model in ("VEO3", "another", "LTX2"):
        promql.record("plot", {"model": model}, 1)
    tones = {s["name"]: s["tone"] for s in PanelEvaluator(promql).panel(PLOT, HOUR)["series"]}
    assert (tones["LTX2 P50"], tones["VEO3 P50"]) == (2, 4)
    assert 5 <= tones["another P50"] <= 8


def test_bars_list_the_known_names_first_and_leave_unmeasured_ones_empty() -> None:
    promql = FakePromQL()
    assert PanelEvaluator(promql).panel(BARS, HOUR) == {"rows": []}
    promql.record(r"bars\[86400s\]", {"model": "OTHER"}, 3)
    promql.record(r"bars\[86400s\]", {"model": "MOCHI1"}, 0)
    rows = PanelEvaluator(promql).panel(BARS, HOUR)["rows"]
    assert [(r["name"], r["value"]) for r in rows] == [("MOCHI1", 0), ("VEO3", None), ("OTHER", 3)]


def test_viewers_of_the_same_range_share_an_evaluation() -> None:
    promql = FakePromQL()
    evaluator = PanelEvaluator(promql)
    for moment in (1_000_000.2, 1_000_003.9):
        evaluator.panel(PLOT, parse({"range": "1h"}, moment))
    assert len(promql.asked) == 1


def test_ids_are_unique_and_every_expression_is_declared() -> None:
    ids = [p.id for p in OPERATIONS.panels]
    assert len(ids) == len(set(ids))
    metrics = METRICS
    for panel in OPERATIONS.panels:
        for query in declaration(panel, HOUR)["queries"]:
            assert "$" not in query
            names = re.findall(r"\b([a-z]\w+?)(?:_bucket|_sum|_count)?(?=[{\[)])", query)
            used = [n for n in names if n in metrics]
            assert used, f"{panel.id} asks for no declared metric: {query}"
            labels = set(re.findall(r'(\w+)\s*(?:!?=~?)\s*"', query))
            for group in re.findall(r"by \(([^)]*)\)", query):
                labels |= {label.strip() for label in group.split(",")} - {"le"}
            for name in used:
                assert labels <= set(metrics[name].label_names), (panel.id, labels)


def test_a_stat_with_two_queries_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="one query"):
        Panel(id="x", title="X", kind=Kind.STAT, queries=(Query(expr="a"), Query(expr="b")))
