"""Where Prometheus 3 differs from the Prometheus 2 that the differential suite asks: edges, extrapolation, names."""

from __future__ import annotations

import math

import pytest

from promql_seeding import STALE, at, forget, histogram_row, one, seed, seed_histograms
from rushes.query.promql import PromQL, PromQLError
from telemetry_store import NOW_S, shared_store, unique


def test_a_window_excludes_its_left_edge() -> None:
    name = unique("edge_total")
    seed(name, {0.0: 100.0, 60.0: 160.0, 120.0: 220.0})
    assert one(f"count_over_time({name}[1m])", 120) == 1
    assert one(f"count_over_time({name}[1m1ms])", 120) == 2
    assert at(f"rate({name}[1m])", 120) == {}
    assert one(f"rate({name}[61s])", 120) == pytest.approx(1 * (60 + 1) / 61)


def test_the_lookback_excludes_its_left_edge() -> None:
    name = unique("edge")
    seed(name, {0.0: 1.0})
    assert one(name, 299.999) == 1
    assert at(name, 300) == {}
    assert at(f"timestamp({name})", 300) == {}
    short = PromQL(shared_store(), lookback_s=10)
    assert short.instant(name, NOW_S + 10).series == []
    assert len(short.instant(name, NOW_S + 10, lookback_s=11).series) == 1


def test_a_subquery_excludes_its_left_edge() -> None:
    # At 600 s: the steps in (0, 600] that are multiples of 60.
    assert one("count_over_time(vector(1)[10m:1m])", 600) == 10
    assert one("count_over_time(vector(1)[10m:1m])", 601) == 10
    assert one("min_over_time(vector(time())[10m:1m])", 600) == NOW_S + 60


def test_rates_are_extended_by_half_an_interval_before_zero_is_considered() -> None:
    name = unique("late_total")
    # Samples at 60, 70, 80 in (0, 100]: the window begins 60 s before, more than 1.1 intervals: half of one is added,
    # though zero lies 20 * 4 / 8 = 10 s before the first.
    seed(name, {60.0: 4.0, 70.0: 8.0, 80.0: 12.0})
    assert one(f"increase({name}[100s])", 100) == pytest.approx(8 * (20 + 5 + 5) / 20)


def test_a_dot_in_a_pattern_is_any_character_and_names_may_have_any() -> None:
    name = unique("dots")
    seed(name, {0.0: 1.0}, **{"a.b": "x\ny"})
    assert one(f'{name}{{"a.b"=~"x.y"}}') == 1
    assert one(f'{{"{name}", "a.b"!=""}}') == 1
    assert at(f'label_replace({name}, "ü-1", "$1", "a.b", "(x).y")') == {(("a.b", "x\ny"), ("ü-1", "x")): 1}


def test_numbers_may_be_durations_and_durations_numbers() -> None:
    name = unique("numbers")
    seed(name, {0.0: 1.0, 90.0: 2.0})
    assert one(f"sum_over_time({name}[100])", 90) == 3
    assert PromQL(shared_store()).instant("1m30s + 0x10", NOW_S).series[0].values == [106]


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("x[1e30]", "1:3: parse error: duration out of range"),
        ("sum(x offset 1e30)", "1:14: parse error: duration out of range"),
        ("x offset -1e400", "1:11: parse error: duration out of range"),
        ("x[5m:Inf]", "1:6: parse error: duration out of range"),
        ("x[NaN]", "1:3: parse error: duration out of range"),
        ("300y", "1:1: parse error: duration out of range"),
        ("sum(1 - 0s)", "1:9: parse error: duration must be greater than 0"),
        ("x[5m:0]", "1:6: parse error: duration must be greater than 0"),
        ("x[0]", "1:3: parse error: duration must be greater than 0"),
        ("x[0x0]", "1:3: parse error: duration must be greater than 0"),
    ],
)
def test_numbers_that_can_be_no_durations_are_refused(expr: str, fault: str) -> None:
    with pytest.raises(PromQLError) as caught:
        at(expr)
    assert (caught.value.error_type, caught.value.message) == ("bad_data", fault)


def test_nothing_deviates_from_what_is_no_number() -> None:
    name = unique("deviating")
    seed(name, {0.0: math.nan}, n="1")
    seed(name, {0.0: 1.0}, n="2")
    assert math.isnan(one(f"stddev({name})"))
    assert math.isnan(one(f'stdvar({name}{{n="1"}})'))
    assert one(f'stdvar({name}{{n="2"}})') == 0


def test_too_many_matches_are_an_error_even_of_a_filter_that_keeps_none() -> None:
    many, few = unique("many"), unique("few")
    seed(many, {0.0: 1.0}, tier="free", n="1")
    seed(many, {0.0: 1.0}, tier="free", n="2")
    seed(few, {0.0: 100.0}, tier="free")
    with pytest.raises(PromQLError, match="many-to-one matching must be explicit"):
        at(f"{many} > on(tier) {few}")


def test_a_vanished_series_is_gone_at_its_marker_and_not_before() -> None:
    name = unique("stale")
    seed(name, {0.0: 1.0, 15.0: STALE, 30.0: math.nan})
    assert one(name, 14.999) == 1
    assert at(name, 15) == {}
    assert math.isnan(one(name, 30))  # another not-a-number is a value
    assert one(f"count_over_time({name}[31s])", 30) == 2
    assert PromQL(shared_store()).range(name, NOW_S, NOW_S + 20, 5).series[0].timestamps == [
        NOW_S,
        NOW_S + 5,
        NOW_S + 10,
    ]


def test_a_histogram_ends_at_its_marker_too() -> None:
    name = unique("stale_native")
    rows = [
        histogram_row(0, positive={1: 4.0}),
        histogram_row(15, sum=STALE),
        histogram_row(30, positive={1: 6.0}),
    ]
    seed_histograms(name, rows)
    assert one(f"histogram_count({name})", 14) == 4
    assert at(f"histogram_count({name})", 15) == {}
    assert one(f"count_over_time({name}[1m])", 30) == 2


def test_repeated_rows_count_once() -> None:
    name = unique("repeated_total")
    seed(name, [(0.0, 100.0), (15.0, 115.0), (15.0, 115.0), (30.0, 130.0), (30.0, 130.0), (45.0, 145.0)])
    clean = unique("clean_total")
    seed(clean, {0.0: 100.0, 15.0: 115.0, 30.0: 130.0, 45.0: 145.0})
    functions = ("rate", "increase", "irate", "sum_over_time", "count_over_time", "delta")
    for query in ("{}", *(f"{function}({{}}[1m])" for function in functions)):
        assert one(query.format(name), 45) == one(query.format(clean), 45), query
    native = unique("repeated_native")
    seed_histograms(
        native, [histogram_row(0, positive={1: 4.0})] * 2 + [histogram_row(15, positive={1: 8.0})]
    )
    assert one(f"count_over_time({native}[1m])", 20) == 2


def test_experimental_functions_are_refused_unless_allowed() -> None:
    name = unique("experimental")
    for n, value in (("2", 1.0), ("10", 5.0), ("1", 9.0)):
        seed(name, {0.0: value, 10.0: value + 2}, n=n)
    for query, text in (
        (f"mad_over_time({name}[1m])", 'function "mad_over_time" is not enabled'),
        (f'sort_by_label({name}, "n")', 'function "sort_by_label" is not enabled'),
        (f"limitk(2, {name})", r"limitk\(\) is experimental and must be enabled with"),
        (f"info({name})", 'function "info" is not enabled'),
    ):
        with pytest.raises(PromQLError, match=f"1:1: parse error: {text}") as caught:
            at(query)
        assert caught.value.error_type == "bad_data"
    allowed = PromQL(shared_store(), experimental=True)
    in_order = allowed.instant(f'sort_by_label({name}, "n")', NOW_S).series
    assert [series.labels["n"] for series in in_order] == ["1", "2", "10"]
    backwards = allowed.instant(f'sort_by_label_desc({name}, "n")', NOW_S).series
    assert [series.labels["n"] for series in backwards] == ["10", "2", "1"]
    assert [series.values for series in allowed.instant(f"mad_over_time({name}[1m])", NOW_S + 10).series] == [
        [1]
    ] * 3
    assert len(allowed.instant(f"limitk(2, {name})", NOW_S).series) == 2
    with pytest.raises(PromQLError, match="info"):
        allowed.instant(f"info({name})", NOW_S)


def test_fill_stands_for_a_side_that_is_missing() -> None:
    errors, total = unique("errors"), unique("total")
    seed(errors, {0.0: 5.0}, tier="free")
    seed(errors, {0.0: 3.0}, tier="lost")
    seed(total, {0.0: 50.0}, tier="free")
    seed(total, {0.0: 20.0}, tier="premium")
    assert at(f"{errors} / {total}") == {(("tier", "free"),): 0.1}
    assert at(f"{errors} / fill_left(0) {total}") == {(("tier", "free"),): 0.1, (("tier", "premium"),): 0}
    assert at(f"{errors} + fill_right(1) {total}") == {(("tier", "free"),): 55, (("tier", "lost"),): 4}
    assert at(f"{errors} + fill(7) {total}") == {
        (("tier", "free"),): 55,
        (("tier", "lost"),): 10,
        (("tier", "premium"),): 27,
    }
    assert at(f"{errors} + fill(7) nothing_at_all") == {(("tier", "free"),): 12, (("tier", "lost"),): 10}
    assert at(f"{errors} > fill_right(4) {total}") == {}
    assert at(f"{total} > fill_right(4) {errors}") == {(("tier", "free"),): 50, (("tier", "premium"),): 20}
    owner = unique("owner")
    seed(owner, {0.0: 1.0}, tier="free", team="a")
    assert at(f"{total} * on(tier) group_left(team) fill_right(2) {owner}") == {
        (("team", "a"), ("tier", "free")): 50,
        (("tier", "premium"),): 40,
    }


def test_samples_whose_series_is_forgotten_are_left_out() -> None:
    name = unique("outlived")
    seed(name, {0.0: 1.0}, n="known")
    for _ in range(2):
        forget(name, 5.0)
    assert at(name) == {(("n", "known"),): 1}
    assert at(f"avg_over_time({name}[1m])") == {(("n", "known"),): 1}
    assert at(f"last_over_time({name}[1m])") == {(("n", "known"),): 1}
