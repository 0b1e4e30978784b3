"""Generated files are what the catalog says, and the listing names everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rushes.catalog import METRICS, SPANS
from rushes.catalog.generate import generated
from rushes.catalog.listing import as_json, as_text
from rushes.catalog.model import Kind, Metric

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(generated()))
def test_no_drift(name: str) -> None:
    assert (ROOT / name).read_text() == generated()[name], "run `make generate`"


def test_the_listing_names_everything() -> None:
    assert {d["name"] for d in json.loads(as_json("metrics"))} == set(METRICS)
    assert all(any(line.startswith(name) for line in as_text("spans").splitlines()) for name in SPANS)
    with pytest.raises(KeyError):
        as_text("dashboards")


def test_a_declaration_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="has buckets"):
        Metric(name="rushes_x", kind=Kind.HISTOGRAM, help="", section="")
    with pytest.raises(ValueError, match="must ascend"):
        Metric(name="rushes_x", kind=Kind.HISTOGRAM, help="", section="", buckets=(2, 1))
    with pytest.raises(ValueError, match="prefixed"):
        Metric(name="x", kind=Kind.GAUGE, help="", section="", specified=False)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("video_generation_duration_seconds", "s"),
        ("gpu_memory_used_bytes", "By"),
        ("dit_inference_step_duration_ms", "{ms}"),
        ("nvlink_bandwidth_gbps", "{Gbit/s}"),
        ("queue_depth_total", ""),
    ],
)
def test_no_unit_makes_a_translator_add_a_suffix(name: str, unit: str) -> None:
    assert METRICS[name].otlp_unit == unit
