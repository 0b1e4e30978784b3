"""/metrics: exact names, readable by Prometheus' own client, in both formats."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from recording import Recorded
from rushes.catalog import METRICS, Kind
from rushes.sdk import exposition, instruments, tracing
from rushes.sdk.exposition import number, render
from rushes.sdk.instrument_types import Counter, Gauge, Histogram


def _touch_everything() -> None:
    for name, metric in METRICS.items():
        labels = {label.name: label.values[0] if label.values else "x" for label in metric.labels}
        instrument = instruments.get(name)
        if isinstance(instrument, Counter):
            instrument.add(1, **labels)
        elif isinstance(instrument, Gauge):
            instrument.set(1, **labels)
        elif isinstance(instrument, Histogram):
            instrument.record(1, **labels)


def test_every_metric_has_its_exact_name_type_and_buckets(recorded: Recorded) -> None:
    _touch_everything()
    text, content_type = exposition()
    assert content_type.startswith("text/plain")
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    assert types.keys() >= METRICS.keys()
    families = {family.name: family for family in parse_text(text)}
    for name, metric in METRICS.items():
        assert types[name] == metric.kind.value
        if metric.kind is Kind.HISTOGRAM:
            bounds = {s.labels["le"] for s in families[name].samples if s.name == f"{name}_bucket"}
            assert bounds == {number(b) for b in metric.buckets} | {"+Inf"}
        else:
            assert any(line.startswith((f"{name} ", f"{name}{{")) for line in text.splitlines())


def test_promtool_finds_nothing_but_the_specifications_own_names_to_say(recorded: Recorded) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool (Debian: prometheus) is not installed")
    _touch_everything()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition()[0], capture_output=True, text=True, check=False
    )
    # Naming advice is about the specification's names, which are a contract; a parse error would be ours.
    assert "error while linting" not in checked.stderr
    assert checked.returncode in {0, 3}, checked.stderr


def test_openmetrics_has_exemplars_and_parses(recorded: Recorded) -> None:
    exposition("application/openmetrics-text")  # exemplars are those since the last collection
    root = tracing.new_root()
    with tracing.under(root), tracing.span("gateway") as span:
        instruments.queue_wait_duration_seconds.record(7.5, tier="free")
    text, content_type = exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    (line,) = (
        x for x in text.splitlines() if "queue_wait_duration_seconds_bucket" in x and root.trace_id in x
    )
    assert 'le="10"' in line
    assert f'span_id="{span.get_span_context().span_id:016x}"' in line
    families = {family.name for family in parse_openmetrics(text)}
    assert {
        "queue_wait_duration_seconds",
        "video_generation_success",
    } <= families or "queue_wait_duration_seconds" in families
    assert text.endswith("# EOF\n")


@given(value=st.text(), name=st.text(alphabet="abc_./-", min_size=1).map(lambda s: f"a{s}"))
def test_any_label_value_survives(value: str, name: str) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader], shutdown_on_exit=False).get_meter("test")
    meter.create_counter("things").add(1, {name: value})
    text, _ = render(reader.get_metrics_data())
    # Prometheus' parser splits on newlines only; Python's would on others that a label may hold.
    (family,) = parse_text(text)
    (sample,) = family.samples
    assert list(sample.labels.values()) == [value]


@pytest.mark.parametrize(
    ("value", "written"),
    [(1, "1"), (1.0, "1"), (0.5, "0.5"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (1e300, "1e+300")],
)
def test_numbers(value: float, written: str) -> None:
    assert number(value) == written
