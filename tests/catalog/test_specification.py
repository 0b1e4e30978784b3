"""The catalog against the specification's own text: nothing missing, nothing renamed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from rushes.catalog import METRICS, NEVER_LOGGED, SPANS, Kind, declared_span

TEXT = (Path(__file__).parents[2] / "docs" / "specification.md").read_text()
ROWS = re.findall(
    r"^\| `([a-z_0-9]+)` \| (Histogram|Counter|Gauge) \| (.*?) \| (.*?) \|$", TEXT, re.MULTILINE
)
YAML = re.findall(
    r"^- name: (\S+)\n  type: (\S+)\n  help: \"(.*?)\"\n  labels: \[(.*?)\](?:.*)\n(?:  buckets: (\[.*\]))?",
    TEXT,
    re.MULTILINE,
)
SPAN_NAMES = re.findall(r"^[│ ├└─]*[├└]── ([a-z0-9_.]+) ?", TEXT, re.MULTILINE)


def test_the_specification_is_read_whole() -> None:
    assert len(ROWS) == 9 + 7 + 8 + 7 + 5
    assert len(YAML) == TEXT.count("\n- name: ")
    assert len(SPAN_NAMES) > 40


@pytest.mark.parametrize(("name", "kind", "_help", "_target"), ROWS)
def test_every_metric_of_the_tables_is_declared(name: str, kind: str, _help: str, _target: str) -> None:
    assert METRICS[name].kind.value == kind.lower()
    assert METRICS[name].specified


@pytest.mark.parametrize(("name", "_kind", "_help", "target"), ROWS)
def test_targets_are_the_specifications(name: str, _kind: str, _help: str, target: str) -> None:
    assert METRICS[name].target == target


@pytest.mark.parametrize(("name", "kind", "text", "labels", "buckets"), YAML)
def test_definitions_are_the_specifications(
    name: str, kind: str, text: str, labels: str, buckets: str
) -> None:
    metric = METRICS[name]
    assert metric.kind is Kind(kind)
    assert metric.help == text
    assert list(metric.label_names) == [label.strip() for label in labels.split(",")]
    if buckets:
        assert list(metric.buckets) == ast.literal_eval(buckets)


def test_metrics_that_only_the_alerts_use_are_declared() -> None:
    assert METRICS["gpu_worker_status"].kind is Kind.GAUGE
    assert METRICS["video_generation_request_total"].kind is Kind.COUNTER


def test_the_step_types_of_the_specification_are_values() -> None:
    given = re.search(r"step_type: (spatial_attn, temporal_attn, cross_attn, ffn)", TEXT)
    assert given is not None
    (label,) = (x for x in METRICS["dit_inference_step_duration_ms"].labels if x.name == "step_type")
    assert set(given[1].split(", ")) <= set(label.values)


@pytest.mark.parametrize("name", sorted(set(SPAN_NAMES)))
def test_every_span_of_the_tree_is_declared(name: str) -> None:
    assert declared_span(name) is not None


def test_the_span_tree_has_the_specifications_parents() -> None:
    parents: dict[str, str] = {}
    path: list[str] = ["video_generation_request"]
    block = TEXT[TEXT.index("video_generation_request [request_id") : TEXT.index("### Key Spans")]
    for line in block.splitlines():
        match = re.match(r"^([│ ]*)[├└]── ([a-z0-9_.]+)", line)
        if match:
            depth = len(match[1]) // 4 + 1
            del path[depth:]
            parents[re.sub(r"step_\d+", "step_N", match[2])] = path[-1]
            path.append(re.sub(r"step_\d+", "step_N", match[2]))
    assert len(parents) > 35
    assert {name: SPANS[name].parent for name in parents} == parents


def test_what_not_to_log_is_the_specifications_table() -> None:
    table = TEXT[TEXT.index("### What NOT to Log") : TEXT.index("## Distributed Tracing")]
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|$", table, re.MULTILINE)[1:]
    assert [(n.data, n.reason, n.alternative) for n in NEVER_LOGGED] == rows


def test_only_ours_are_prefixed() -> None:
    named = (
        {row[0] for row in ROWS}
        | {y[0] for y in YAML}
        | {"gpu_worker_status", "video_generation_request_total"}
    )
    assert {name for name, metric in METRICS.items() if metric.specified} == named
    assert all(name.startswith("rushes_") for name in METRICS.keys() - named)
