"""Queries of any size are answered or refused, and quickly: none may cost the process."""

from __future__ import annotations

import pytest

from rushes.query.promql import PromQL, PromQLError
from rushes.query.promql.parsing import parsed
from rushes.query.promql.tree import nodes, selectors
from telemetry_store import shared_store


@pytest.fixture(scope="module")
def promql() -> PromQL:
    return PromQL(shared_store())


@pytest.mark.parametrize(
    ("expr", "value"),
    [
        ("+".join(["1"] * 200), 200.0),
        ("(" * 90 + "1" + ")" * 90, 1.0),
        ("-" * 240 + "1", 1.0),
        ("max(" * 90 + "vector(3)" + ")" * 90, 3.0),
    ],
)
def test_a_large_query_is_answered(promql: PromQL, expr: str, value: float) -> None:
    result = promql.instant(expr, 1_700_000_000)
    assert [float(series.values[0]) for series in result.series] == [value]


@pytest.mark.parametrize(
    "expr",
    [
        "+".join(["1"] * 20_000),
        "(" * 2000 + "1" + ")" * 2000,
        "(" * 10_000,
        "-" * 5000 + "1",
        "sum(" * 500 + "up" + ")" * 500,
        "up" + " or up" * 300,
        "x" * 70_000,
    ],
)
def test_a_huge_query_is_refused(promql: PromQL, expr: str) -> None:
    with pytest.raises(PromQLError, match="the query") as refused:
        promql.instant(expr, 1_700_000_000)
    assert refused.value.error_type == "bad_data"


def test_matchers_are_no_operators(promql: PromQL) -> None:
    assert (
        promql.instant("nothing{" + ",".join(f'a{n}="b"' for n in range(300)) + "}", 1_700_000_000).series
        == []
    )


@pytest.mark.parametrize("at", ["1e12", "9.2e15", "-1e12", "0"])
def test_a_far_time_has_no_samples(promql: PromQL, at: str) -> None:
    assert promql.instant(f"boom @ {at}", 1_700_000_000).series == []


def test_a_time_beyond_all_times_is_refused(promql: PromQL) -> None:
    with pytest.raises(PromQLError, match="timestamp out of bounds for @ modifier"):
        promql.instant("boom @ 1e300", 1_700_000_000)


def test_all_nodes_are_seen_in_order() -> None:
    expr = parsed('sum by (a) (rate(x[5m])) + topk(scalar(n), y{a="b"}) or -(max_over_time(z[5m:1m]))')
    assert [of.name for of in selectors(expr)] == ["x", "n", "y", "z"]
    assert len(list(nodes(expr))) == 15
