"""The text formats of Prometheus and OpenMetrics, against prometheus_client as the reference."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from rushes.ingest.exposition import ExpositionError, exposition, labels_of

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x1c\x1d\x1e\x85\u2028\u2029"), max_size=12)

HELP = st.text('ab \\"\n#{}', max_size=12).map(str.strip)


def reference(families: Any) -> list[tuple[dict[str, str], float]]:
    return [
        ({"__name__": sample.name, **sample.labels}, float(sample.value))
        for family in families
        for sample in family.samples
    ]


def ours(text: str, *, openmetrics: bool = False) -> list[tuple[dict[str, str], float]]:
    found = exposition(text, openmetrics=openmetrics)
    return list(zip(map(labels_of, found.series), found.values, strict=True))


@given(values=st.dictionaries(TEXT, st.floats(allow_nan=False), min_size=1, max_size=5), help_=HELP)
def test_what_prometheus_client_writes_is_read_as_it_reads_it(values: dict[str, float], help_: str) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("some_gauge", help_ or "x", ["a"], registry=registry)
    counter = Counter("some", "counted", registry=registry)
    counter.inc(2)
    histogram = Histogram("took_seconds", "took", registry=registry, buckets=[0.5, 1])
    histogram.observe(0.7, {"trace_id": "a # {b}"})
    for label, value in values.items():
        gauge.labels(label).set(value)
    text = generate_latest(registry).decode()
    assert ours(text) == reference(text_string_to_metric_families(text))
    described = exposition(text, openmetrics=False).described
    assert described["some_gauge"] == ("gauge", help_ or "x", "")
    assert described["some_total"] == ("counter", "counted", "")
    open_ = generate_openmetrics(registry).decode()
    assert ours(open_, openmetrics=True) == reference(read_openmetrics(open_))
    found = exposition(open_, openmetrics=True)
    assert found.described["some_total"][0] == "counter"
    ((place, exemplar),) = found.exemplars.items()
    assert (labels_of(found.series[place])["le"], exemplar.labels, exemplar.value) == (
        "1.0",
        {"trace_id": "a # {b}"},
        0.7,
    )


def test_odd_lines_that_are_right() -> None:
    text = (
        'a{x="} # {",y="\\\\\\"\\n",} 1 1700000000123\n'
        "b  NaN\n"
        "c{} +Inf -5\n"
        "# a comment\n"
        "# HELP c what\\nit is\n\n"
        '{"with.dots","la-bel"="v"} 3\n'
    )
    found = exposition(text, openmetrics=False)
    assert [labels_of(series) for series in found.series] == [
        {"__name__": "a", "x": "} # {", "y": '\\"\n'},
        {"__name__": "b"},
        {"__name__": "c"},
        {"__name__": "with.dots", "la-bel": "v"},
    ]
    assert math.isnan(found.values[1])
    assert found.values[2] == math.inf
    assert found.times == {0: 1_700_000_000_123, 2: -5}
    assert found.described == {"c": ("unknown", "what\nit is", "")}
    seconds = exposition("a 1 1700000000.123\n# EOF\n", openmetrics=True)
    assert seconds.times == {0: 1_700_000_000_123}


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a x",
        "a 1_0",
        "a 1 2 3",
        'a{b="c"}',
        'a{b="c} 1',
        "a{b=c} 1",
        'a{b="1",b="2"} 1',
        "{} 1",
        "1a 1",
        "a 1 # {} TY3",
    ],
)
def test_lines_that_are_none_are_said(line: str) -> None:
    with pytest.raises(ExpositionError, match=r"line|series|number"):
        ours(line + "\n")


def test_openmetrics_has_an_end() -> None:
    with pytest.raises(ExpositionError, match="EOF"):
        exposition("a 1\n", openmetrics=True)
    with pytest.raises(ExpositionError, match="after the end"):
        exposition("# EOF\na 1\n", openmetrics=True)


@given(st.text(max_size=60) | st.builds("a{{{}}} {}".format, st.text(max_size=20), st.text(max_size=20)))
def test_any_text_is_read_or_refused(text: str) -> None:
    for openmetrics in (False, True):
        try:
            found = exposition(text, openmetrics=openmetrics)
            for series in found.series:
                assert labels_of(series)["__name__"]
        except ExpositionError:
            pass
