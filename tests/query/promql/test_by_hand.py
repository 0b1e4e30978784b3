"""PromQL against answers worked out by hand from Prometheus 3's rules."""

from __future__ import annotations

import math

import pytest

from promql_seeding import STALE, at, one, seed
from rushes.query.promql import PromQL, PromQLError
from telemetry_store import NOW_S, shared_store, unique

T = NOW_S


@pytest.fixture(scope="module")
def counter() -> str:
    """A counter, every 15 s from 0 to 120: 10 a sample, reset after 60 s."""
    name = unique("requests")
    seed(name, {15.0 * i: (10.0 * i if i <= 4 else 10.0 * (i - 5)) + 5 for i in range(9)}, job="a")
    return name


@pytest.fixture(scope="module")
def tiers() -> str:
    name = unique("depth")
    for tier, model, value in (
        ("free", "MOCHI1", 1.0),
        ("free", "LTX2", 2.0),
        ("premium", "MOCHI1", 3.0),
        ("premium", "LTX2", math.nan),
    ):
        seed(name, {0.0: value}, tier=tier, model=model)
    return name


def key(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def test_lookback_excludes_its_left_edge_and_stale_series_end() -> None:
    name = unique("seen")
    seed(name, {0.0: 1.0, 10.0: STALE, 20.0: 2.0})
    assert one(name, 9.999) == 1
    assert at(name, 10) == {}
    assert one(name, 20) == 2
    assert one(name, 319.999) == 2
    assert at(name, 320) == {}
    assert at(name, -0.001) == {}
    assert one(f"count_over_time({name}[1m])", 30) == 2  # a stale marker is no sample


def test_matchers_are_anchored_and_an_absent_label_is_empty() -> None:
    name = unique("matched")
    seed(name, {0.0: 1.0}, tier="free", path="/v1/videos")
    seed(name, {0.0: 2.0}, tier="premium\nx")
    assert sorted(at(f'{name}{{tier=~"free|gold"}}').values()) == [1]
    assert at(f'{name}{{tier=~"re"}}') == {}
    assert sorted(at(f'{name}{{tier=~"prem.*"}}').values()) == [
        2
    ]  # . fits a line's end, as Prometheus has it
    assert sorted(at(f'{name}{{path=""}}').values()) == [2]
    assert sorted(at(f'{name}{{tier!="free"}}').values()) == [2]
    assert sorted(at(f'{name}{{path!~"/v1.*",nothing=""}}').values()) == [2]
    assert sorted(at(f'{{__name__=~"{name}",tier="free"}}').values()) == [1]


def test_offset_and_at_look_elsewhere(counter: str) -> None:
    assert one(counter, 60) == 45
    assert one(f"{counter} offset 30s", 60) == 25
    assert one(f"{counter} offset -15s", 30) == 35
    assert one(f"{counter} @ {T + 15}", 100) == 15
    assert one(f"sum_over_time({counter}[30s] @ {T + 30})", 100) == 15 + 25
    ranged = PromQL(shared_store()).range(f"{counter} @ end()", T, T + 60, 30)
    assert ranged.series[0].values == [45, 45, 45]
    assert PromQL(shared_store()).range(f"{counter} @ start()", T, T + 60, 30).series[0].values == [5, 5, 5]


def test_increase_and_rate_extrapolate_as_prometheus_3(counter: str) -> None:
    # (0, 60]: samples at 15..60, 15..45: +30 over 45 s. The window begins 15 s before the first sample, less than
    # 1.1 intervals, and zero would lie 45 * 15 / 30 = 22.5 s before it: extended by 15 s to the whole window.
    assert one(f"increase({counter}[1m])", 60) == pytest.approx(30 * 60 / 45)
    assert one(f"rate({counter}[1m])", 60) == pytest.approx(30 / 45)
    # (60, 120]: samples at 75..120: 5, 15, 25, 35. Zero would lie 45 * 5 / 30 = 7.5 s before the first.
    assert one(f"increase({counter}[1m])", 120) == pytest.approx(30 * (45 + 7.5) / 45)
    # Across the reset: (30, 90] has 35, 45, 5, 15: 15 - 35 + 45 = 25; zero would lie 63 s before.
    assert one(f"increase({counter}[1m])", 90) == pytest.approx(25 * 60 / 45)
    # delta doesn't know resets: 15 - 35.
    assert one(f"delta({counter}[1m])", 90) == pytest.approx(-20 * 60 / 45)
    # A window that ends long after the last sample is extended by half an interval only: 105, 120 in (100, 160].
    assert one(f"increase({counter}[1m])", 160) == pytest.approx(10 * (15 + 5 + 7.5) / 15)
    assert one(f"irate({counter}[1m])", 60) == pytest.approx(10 / 15)
    assert one(f"irate({counter}[1m])", 75) == pytest.approx(5 / 15)  # the new value, after a reset
    assert at(f"rate({counter}[15s])", 60) == {}  # (45, 60] has a single sample


def test_ranges_over_steps_equal_instants(counter: str) -> None:
    query = f"rate({counter}[1m])"
    (series,) = PromQL(shared_store()).range(query, T + 30, T + 180, 15).series
    assert series.timestamps[0] == T + 30
    for when, value in zip(series.timestamps, series.values, strict=True):
        assert one(query, when - T) == pytest.approx(value, rel=1e-12)
    # Beyond the last sample's window there is nothing, not zero: (105, 165] has but one, at 120.
    assert series.timestamps[-1] == T + 150


def test_over_time_functions() -> None:
    name = unique("values")
    seed(name, {0.0: 9.0, 10.0: 4.0, 20.0: 1.0, 30.0: 4.0})
    window = f"({name}[30s])"  # (0, 30]: 4, 1, 4
    expected = {"avg": 3.0, "min": 1.0, "max": 4.0, "sum": 9.0, "count": 3.0, "last": 4.0}
    assert {name: one(f"{name}_over_time{window}", 30) for name in expected} == expected
    assert one(f"quantile_over_time(0.25, {name}[30s])", 30) == 2.5
    assert PromQL(shared_store()).instant(f"last_over_time{window}", T + 30).series[0].labels == {
        "__name__": name
    }
    assert PromQL(shared_store()).instant(f"max_over_time{window}", T + 30).series[0].labels == {}
    assert one(f"changes{window}", 30) == 2
    assert one(f"resets{window}", 30) == 1


def test_histogram_quantile_interpolates() -> None:
    name = unique("latency_bucket")
    for le, count in (("1", 10.0), ("2", 30.0), ("4.0", 40.0), ("+Inf", 50.0)):
        seed(name, {0.0: count}, le=le, model="M")
    assert at(f"histogram_quantile(0.4, {name})") == {key(model="M"): 1.5}
    assert one(f"histogram_quantile(0.1, {name})") == 0.5
    assert one(f"histogram_quantile(0.7, {name})") == 3.0
    assert one(f"histogram_quantile(0.95, {name})") == 4.0  # in +Inf: the highest bound there is
    assert one(f"histogram_quantile(1.5, {name})") == math.inf
    assert one(f"histogram_quantile(-1, {name})") == -math.inf
    assert math.isnan(one(f'histogram_quantile(0.5, {name}{{le!="+Inf"}})'))
    assert math.isnan(one(f"histogram_quantile(0.5, {name} * 0)"))
    summed = f"histogram_quantile(0.4, sum by (le) ({name}))"
    assert at(summed) == {(): 1.5}


def test_aggregations(tiers: str) -> None:
    assert at(f'sum by (tier) ({tiers}{{model!="LTX2"}})') == {key(tier="free"): 1, key(tier="premium"): 3}
    assert at(f"count by (model) ({tiers})") == {key(model="MOCHI1"): 2, key(model="LTX2"): 2}
    assert at(f"min without (model) ({tiers})") == {key(tier="free"): 1, key(tier="premium"): 3}
    assert at(f"max by (model) ({tiers})") == {key(model="MOCHI1"): 3, key(model="LTX2"): 2}
    assert one(f'avg({tiers}{{tier="free"}})') == 1.5
    assert math.isnan(one(f"sum({tiers})"))
    assert one(f'quantile(0.75, {tiers}{{model="MOCHI1"}})') == 2.5
    assert at(f"sum by (nothing) ({tiers}{{tier='free'}})") == {(): 3}
    assert list(at(f"topk(2, {tiers})").values()) == [3, 2]
    assert list(at(f"bottomk(1, {tiers})").values()) == [1]
    assert sorted(at(f"topk by (tier) (1, {tiers})").values()) == [2, 3]
    assert at(f"topk(0, {tiers})") == {}
    ranged = PromQL(shared_store()).range(f"topk(1, {tiers})", T, T + 10, 5)
    assert [series.labels["tier"] for series in ranged.series] == ["premium"]


def test_arithmetic_and_comparison(tiers: str) -> None:
    free = f'{tiers}{{tier="free"}}'
    assert at(f"{free} * 2 + 1") == {key(tier="free", model="MOCHI1"): 3, key(tier="free", model="LTX2"): 5}
    assert at(f"{free} > 1") == {key(tier="free", model="LTX2"): 2}
    assert PromQL(shared_store()).instant(f"{free} > 1", T).series[0].labels["__name__"] == tiers
    assert sorted(at(f"{free} > bool 1").values()) == [0, 1]
    assert at(f"1 < {free}") == {key(tier="free", model="LTX2"): 2}
    assert sorted(at(f"2 ^ {free} % 3").values()) == [1, 2]
    assert sorted(at(f"-{free}").values()) == [-2, -1]
    assert one(f"sum({free}) / 0") == math.inf
    assert PromQL(shared_store()).instant("1 + 2 * 3 - 4 / 8", T).series[0].values == [6.5]
    assert PromQL(shared_store()).instant("1 > bool 2", T).series[0].values == [0]


def test_vector_matching(tiers: str) -> None:
    totals, limits = unique("total"), unique("limit")
    seed(totals, {0.0: 10.0}, tier="free", model="MOCHI1")
    seed(limits, {0.0: 100.0}, tier="free", zone="eu")
    assert at(f"{totals} / {tiers}") == {key(tier="free", model="MOCHI1"): 10}
    assert at(f"{totals} * on(tier) {limits}") == {key(tier="free"): 1000}
    assert at(f"{totals} * ignoring(model, zone) {limits}") == {key(tier="free"): 1000}
    assert at(f"{tiers} * on(tier) group_left(zone) {limits}") == {
        key(tier="free", model="MOCHI1", zone="eu"): 100,
        key(tier="free", model="LTX2", zone="eu"): 200,
    }
    assert at(f"{limits} - on(tier) group_right {tiers}") == {
        key(tier="free", model="MOCHI1"): 99,
        key(tier="free", model="LTX2"): 98,
    }
    assert at(f"{limits} > on(tier) group_right {tiers}") == {
        key(tier="free", model="MOCHI1"): 100,
        key(tier="free", model="LTX2"): 100,
    }
    for query, message in (
        (f"{tiers} * on(tier) {limits}", "many-to-one matching must be explicit"),
        (f"{limits} * on(tier) {tiers}", "duplicate series for the match group"),
    ):
        with pytest.raises(PromQLError, match=message) as caught:
            at(query)
        assert caught.value.error_type == "execution"


def test_set_operators(tiers: str) -> None:
    free, mochi = f'{tiers}{{tier="free"}}', f'{tiers}{{model="MOCHI1"}}'
    assert sorted(at(f"{free} and {mochi}").values()) == [1]
    assert sorted(at(f"{free} unless {mochi}").values()) == [2]
    assert sorted(at(f"{free} or {mochi}").values()) == [1, 2, 3]
    assert sorted(at(f"{free} and on(tier) {mochi}").values()) == [1, 2]
    assert at(f"{free} and nothing_at_all") == {}
    assert sorted(at(f"nothing_at_all or {free}").values()) == [1, 2]


def test_functions_of_values(tiers: str) -> None:
    free = f'{tiers}{{tier="free"}}'
    assert sorted(at(f"clamp({free} * 10, 12, 15)").values()) == [12, 15]
    assert sorted(at(f"clamp_max(clamp_min({free}, 1.5), 1.75)").values()) == [1.5, 1.75]
    assert at(f"clamp({free}, 2, 1)") == {}
    assert sorted(at(f"round({free} / 3, 0.5)").values()) == [0.5, 0.5]
    assert sorted(at(f"round({free} + 0.5)").values()) == [2, 3]
    assert sorted(at(f"abs(floor(-{free} / 2)) + ceil({free} / 4)").values()) == [2, 2]
    assert list(at(f"sort_desc({free})").values()) == [2, 1]
    assert list(at(f"sort({free})").values()) == [1, 2]
    assert one(f"scalar({free} > 1) + vector(1)") == 3
    assert one(f"vector(scalar({free}))") != one(f"vector(scalar({free}))")
    assert one("vector(time())", 7.5) == T + 7.5


def test_absent_tells_what_is_missing(tiers: str) -> None:
    assert at(f"absent({tiers})") == {}
    assert at('absent(nothing_at_all{job="x", zone=~"a|b"})') == {key(job="x"): 1}
    assert at("absent(sum(nothing_at_all))") == {(): 1}


def test_label_replace_expands_groups(tiers: str) -> None:
    query = f'label_replace({tiers}{{model="MOCHI1"}}, "short", "${{1}}-$2$$", "model", "(MO)(.*)1")'
    assert key(tier="free", model="MOCHI1", short="MO-CHI$") in at(query)
    untouched = at(f'label_replace({tiers}, "short", "$1", "model", "(X)")')
    assert untouched.keys() == at(tiers).keys()
    dropped = at(f'label_replace({tiers}{{model="MOCHI1"}}, "model", "", "model", ".*")')
    assert set(dropped) == {key(tier="free"), key(tier="premium")}
    with pytest.raises(PromQLError, match="same labelset"):
        at(f'label_replace({tiers}, "model", "x", "model", ".*")')
    with pytest.raises(PromQLError, match="destination label"):
        at(f'label_replace({tiers}, "", "x", "model", ".*")')


@pytest.mark.parametrize(
    ("replacement", "pattern", "expected"),
    [
        ("$1_total", "(MO)(.*)1", ""),
        ("${1}_total", "(MO)(.*)1", "MO_total"),
        ("$1-total", "(MO)(.*)1", "MO-total"),
        ("$01${3}$99999999999999999999", "(MO)(.*)1", ""),
        ("$rest.$2", "(MO)(?P<rest>.*)1", "CHI.CHI"),
        ("${rest}x$", "(?P<rest>M)(.*)", "Mx$"),
        ("$rest", r"[(]?\\(?(?:MO)()(?P<rest>C)(.*)", "C"),
        ("${rest-}$$rest", "(?P<rest>M)(.*)", "${rest-}$rest"),
    ],
)
def test_label_replace_reads_names_as_long_as_they_can_be(
    tiers: str, replacement: str, pattern: str, expected: str
) -> None:
    """As Go's Regexp.Expand does: $1_total is a group of that name, and none has it."""
    chosen = f'{tiers}{{tier="free",model="MOCHI1"}}'
    (labels,) = at(f'label_replace({chosen}, "short", "{replacement}", "model", "{pattern}")')
    assert dict(labels).get("short", "") == expected


def test_a_dropped_name_may_not_make_twins() -> None:
    first, second = unique("twin"), unique("twin")
    for name in (first, second):
        seed(name, {0.0: 1.0}, job="x")
    with pytest.raises(PromQLError, match="same labelset"):
        at(f'abs({{__name__=~"{first}|{second}"}})')


def test_result_kinds(counter: str) -> None:
    promql = PromQL(shared_store())
    assert promql.instant("42", T).kind == "scalar"
    text = promql.instant('"hello"', T)
    assert (text.kind, text.text) == ("string", "hello")
    raw = promql.instant(f"{counter}[30s]", T + 30)
    assert raw.kind == "matrix"
    assert (raw.series[0].timestamps, raw.series[0].values) == ([T + 15, T + 30], [15, 25])
    flat = promql.range("time() - 0.5", T, T + 2, 1)
    assert flat.series[0].values == [T - 0.5, T + 0.5, T + 1.5]


@pytest.mark.parametrize(
    "query", ["", "sum(", "rate(x)", "x{", "1 > 2", "foo(x)", '{a=~"("}', "x offset", "{}"]
)
def test_queries_that_are_none_are_bad_data(query: str) -> None:
    with pytest.raises(PromQLError) as caught:
        PromQL(shared_store()).range(query, T, T + 1, 1)
    assert caught.value.error_type == "bad_data"


def test_ranges_that_are_none_are_bad_data() -> None:
    promql = PromQL(shared_store())
    for start, end, step in ((1, 0, 1), (0, 1, 0), (0, 11_001, 1), (0, math.inf, 1), (math.nan, 1, 1)):
        with pytest.raises(PromQLError) as caught:
            promql.range("1", start, end, step)
        assert caught.value.error_type == "bad_data"


def test_a_range_may_have_as_many_steps_as_prometheus_allows() -> None:
    promql = PromQL(shared_store())
    for end in (11_000, 11_000.999):
        (series,) = promql.range("1", 0, end, 1).series
        assert len(series.timestamps) == 11_001
    with pytest.raises(PromQLError, match="11,000"):
        promql.range("1", 0, 11_001, 1)
