"""The order of sorted answers, and how errors are worded and placed, against Prometheus."""

from __future__ import annotations

import pytest

from promql_agreement import Both

_FAILING = (
    "",
    "# only",
    "1 +",
    "+",
    "* 1",
    "1 1",
    "c_depth c_depth",
    "c_depth {a='b'} {c='d'}",
    ")",
    "(",
    "()",
    "(1",
    "c_depth)",
    "sum(rate(c_depth[5m])) by (le))",
    "!c_depth",
    "c_depth = 1",
    "c_depth =~ 1",
    "$x",
    "1.2.3",
    "ünï",
    "'a",
    '"a',
    'c_depth{tier="\\q"}',
    "c_depth{",
    "c_depth{tier",
    "c_depth{tier=",
    'c_depth{tier="x"',
    'c_depth{tier="x" status="y"}',
    'c_depth{tier=="x"}',
    '{a="b",,}',
    "{,}",
    "{}",
    '{tier=""}',
    '{__name__=~".*"}',
    'c_depth{__name__="x"}',
    "c_depth[5m",
    "c_depth[0s]",
    "c_depth[5m][5m]",
    "c_depth[5m:0s]",
    "c_depth[5m:1m:1s]",
    "(c_depth)[5m]",
    "sum(c_depth)[5m]",
    "1[5m]",
    "1[5m:1m]",
    '"a"[5m:1m]',
    "c_depth[5m][5m:1m]",
    "c_depth offset 5m offset 3m",
    "c_depth @",
    "c_depth @ foo",
    "c_depth @ start",
    "c_depth @ start(",
    "c_depth @ 1 @ 2",
    "rate(c_depth",
    "rate(c_depth[5m)",
    "rate(c_depth)",
    "rate(c_depth[5m], 1)",
    "sum(rate(c_depth))",
    "foo(c_depth)",
    "1 + foo(c_depth)",
    "sum(\n foo(x))",
    "sum(",
    "sum()",
    "sum(c_depth, c_depth)",
    "sum(c_depth) by",
    "sum(c_depth) foo (tier)",
    "sum by tier (c_depth)",
    "sum by (tier c_depth)",
    "sum by (1) (c_depth)",
    "sum without (c_depth)",
    "topk(c_depth)",
    'topk("a", c_depth)',
    "count_values(1, c_depth)",
    "sum(c_depth[5m])",
    "abs(c_depth[5m])",
    "abs(1)",
    "abs()",
    "abs(c_depth, c_depth)",
    "round(c_depth, 1, 2)",
    "clamp(c_depth, 1)",
    "time(1)",
    "vector(c_depth)",
    "scalar(1)",
    "histogram_quantile(c_depth, 0.5)",
    "predict_linear(c_depth[5m], c_depth)",
    'label_replace(c_depth, "a", "b", "c")',
    "label_join(c_depth)",
    "absent_over_time(c_depth)",
    "1 == 1",
    "1 and 1",
    "c_depth and 1",
    "c_depth + bool 1",
    "c_depth and bool c_depth",
    "c_depth > bool",
    "c_depth == bool bool 1",
    "c_depth and on(x) group_left c_depth",
    "c_depth * group_left c_depth",
    "c_depth * on(x) group_left(x) c_depth",
    "c_depth[5m] + 1",
    '"a" + 1',
    '-"a"',
    "on",
    "bool",
    "group_left",
    # What can be no duration and no time.
    "c_depth offset 0s",
    "c_depth[300y]",
    "sum(c_depth offset 300y)",
    "c_depth[99999999999999999999y]",
    "c_depth[5m:300y]",
    "sum(c_depth @ 1e300)",
    "1 + c_depth @ NaN",
    "c_depth @ -Inf",
    # Patterns that are none.
    'c_depth{tier=~"a**"}',
    'sum(c_depth{tier!~"(?=v)"})',
    'c_depth{tier=~"[z-a]"}',
    'c_depth{tier=~"[é-a]"}',
    r'c_depth{tier=~"\\8"}',
    r"c_depth{tier=~`\8`}",
    'c_depth{tier=~"x{1001}"}',
    'c_depth{tier=~"(((x{100}){100}){100})"}',
    'c_depth{tier=~"*a"}',
    'c_depth{tier=~"[[:foo:]]"}',
    'c_depth{tier=~"(?P<1-2>x)"}',
    'c_depth{tier="\ufffd"}',
    "c_depth{tier='a', status=~`\ufffd`}",
    # Not understood only once there are samples.
    'label_replace(c_depth, "a", "b", "c", "(")',
    'label_replace(c_depth, "", "b", "c", "d")',
    'label_join(c_depth, "", ",", "tier")',
    'count_values("", c_depth)',
    "topk(1e30, c_depth)",
    "bottomk(1.23456789e20, c_depth)",
    "topk(Inf, c_depth)",
    'abs({__name__=~"c_depth|c_limit|c_info|c_time"})',
    "c_depth + on(tier) c_limit",
    "c_depth * on(tier) group_left(status) c_limit",
)


@pytest.mark.parametrize("expr", _FAILING)
def test_errors_are_worded_and_placed_as_prometheus_has_them(both: Both, expr: str) -> None:
    theirs, ours = both.messages(expr)
    assert "None" not in theirs
    assert ours == theirs


@pytest.mark.parametrize(
    ("expr", "group"), [("c_limit + on(job) c_limit", "{}"), ("c_limit + on(tier) c_depth", '{tier="')]
)
def test_duplicate_matches_are_told(both: Both, expr: str, group: str) -> None:
    """Which two of several are named depends on the order of series, which neither promises."""
    for message in both.messages(expr):
        assert message.startswith(f"execution: found duplicate series for the match group {group}")
        assert message.endswith(
            ";many-to-many matching not allowed: matching labels must be unique on one side"
        )


@pytest.mark.parametrize(
    "expr",
    [
        "sort(c_depth)",
        "sort_desc(c_depth)",
        "sort(c_requests_total)",
        "sort_desc(rate(c_requests_total[5m]))",
        "topk(3, c_requests_total)",
        "bottomk(3, c_requests_total)",
        "topk(9, c_depth)",
    ],
)
def test_sorted_answers_come_in_prometheus_order(both: Both, expr: str) -> None:
    theirs, ours = both.ordered(expr)
    assert ours == theirs


@pytest.mark.parametrize(
    ("start", "end", "step"), [(10, 5, 1), (0, 10, 0), (0, 10, -1), (0, 11_001, 1), (0, 10, 1e-9)]
)
def test_ranges_that_are_none_are_refused_alike(both: Both, start: float, end: float, step: float) -> None:
    assert both.range("c_depth", start, end, step) == ""


@pytest.mark.parametrize("expr", ["c_depth[5m]", '"text"', "c_depth[5m:1m]"])
def test_what_has_no_range_is_refused_alike(both: Both, expr: str) -> None:
    assert both.range(expr) == ""


@pytest.mark.parametrize(
    "expr",
    [
        '"text"',
        "'it''s'"[:6],
        r'"\t\"\u00e9\x41"',
        "`raw\\n`",
        "c_depth[5m]",
        "c_native[2m]",
        "c_depth[5m:1m]",
    ],
)
def test_texts_and_raw_samples_agree(both: Both, expr: str) -> None:
    assert both.instant(expr) == ""


def test_holt_winters_lives_on_under_its_new_name(both: Both) -> None:
    old = both.peer.get("query", query="holt_winters(c_depth[10m], 0.3, 0.6)", time=both.origin_s + 3007)[
        "data"
    ]["result"]
    new = both.experimental.instant(
        "double_exponential_smoothing(c_depth[10m], 0.3, 0.6)", both.origin_s + 3007
    )
    theirs = {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in old}
    ours = {tuple(sorted(each.labels.items())): each.values[0] for each in new.series}
    assert ours == pytest.approx(theirs, rel=1e-9)
    theirs_error, _ = both.messages("holt_winters(c_depth[10m], 1, 0.6)")
    _, our_error = both.messages("double_exponential_smoothing(c_depth[10m], 1, 0.6)", experimental=True)
    assert our_error == theirs_error
