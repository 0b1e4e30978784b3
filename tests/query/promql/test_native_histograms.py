"""Native histograms against answers worked out by hand from Prometheus 3's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest

from promql_seeding import at, histogram_row, one, seed, seed_histograms
from rushes.query.promql import PromQL, QueryResult
from rushes.query.promql.native import Buckets, Histogram
from telemetry_store import NOW_S, shared_store, unique

CUSTOM = -53


def ask(query: str, seconds: float = 0) -> QueryResult:
    return PromQL(shared_store()).instant(query, NOW_S + seconds)


def the_histogram(query: str, seconds: float = 0) -> Histogram:
    (series,) = ask(query, seconds).series
    (histogram,) = series.histograms
    assert isinstance(histogram, Histogram)
    return histogram


def counts(of: Buckets) -> dict[int, float]:
    return dict(zip(of.indices.tolist(), of.counts.tolist(), strict=True))


@pytest.fixture(scope="module")
def waits() -> str:
    """(1, 2] has 4, (2, 4] has 4, (4, 8] has 2; bucket i ends at 2**i."""
    name = unique("waits")
    seed_histograms(name, [histogram_row(0, positive={1: 4.0, 2: 4.0, 3: 2.0}, sum=35.0)], tier="free")
    return name


def test_statistics(waits: str) -> None:
    assert one(f"histogram_count({waits})") == 10
    assert one(f"histogram_sum({waits})") == 35
    assert one(f"histogram_avg({waits})") == 3.5
    middles = [(4, math.sqrt(2)), (4, math.sqrt(8)), (2, math.sqrt(32))]
    variance = sum(count * (middle - 3.5) ** 2 for count, middle in middles) / 10
    assert one(f"histogram_stdvar({waits})") == pytest.approx(variance)
    assert one(f"histogram_stddev({waits})") == pytest.approx(math.sqrt(variance))
    assert at(f"abs({waits})") == {}  # numbers only


def test_quantiles_interpolate_on_a_logarithmic_scale(waits: str) -> None:
    assert one(f"histogram_quantile(0.2, {waits})") == pytest.approx(math.sqrt(2))
    assert one(f"histogram_quantile(0.5, {waits})") == pytest.approx(2 ** (1 + 0.25))
    assert one(f"histogram_quantile(0.9, {waits})") == pytest.approx(2**2.5)
    assert one(f"histogram_quantile(0, {waits})") == 1
    assert one(f"histogram_quantile(1, {waits})") == 8
    assert one(f"histogram_quantile(2, {waits})") == math.inf
    assert one(f"histogram_quantile(-1, {waits})") == -math.inf
    assert ask(f"histogram_quantile(2, {waits})").warnings == [
        "PromQL warning: quantile value should be between 0 and 1, got 2"
    ]


def test_fractions(waits: str) -> None:
    assert one(f"histogram_fraction(1, 2, {waits})") == pytest.approx(0.4)
    assert one(f"histogram_fraction(-Inf, 2 ^ 1.5, {waits})") == pytest.approx(0.6)
    assert one(f"histogram_fraction(2, +Inf, {waits})") == pytest.approx(0.6)
    assert one(f"histogram_fraction(3, 3, {waits})") == 0
    assert math.isnan(one(f"histogram_fraction(NaN, 3, {waits})"))


def test_negative_and_zero_buckets() -> None:
    name = unique("offsets")
    row = histogram_row(
        0, positive={1: 2.0}, negative={1: 2.0, 2: 2.0}, zero_count=2.0, zero_threshold=0.5, sum=-4.0
    )
    seed_histograms(name, [row])
    # [-4, -2), [-2, -1), [-0.5, 0.5], (1, 2], two each.
    assert one(f"histogram_quantile(0.125, {name})") == pytest.approx(-(2**1.5))
    assert one(f"histogram_quantile(0.5, {name})") == pytest.approx(-0.5)
    assert one(f"histogram_quantile(0.625, {name})") == pytest.approx(0)
    assert one(f"histogram_fraction(-2, 0, {name})") == pytest.approx(3 / 8)
    only_positive = unique("zeros")
    seed_histograms(only_positive, [histogram_row(0, positive={1: 2.0}, zero_count=2.0, zero_threshold=0.5)])
    assert one(f"histogram_quantile(0.25, {only_positive})") == pytest.approx(0.25)


def test_custom_bounds() -> None:
    name = unique("custom")
    seed_histograms(
        name, [histogram_row(0, schema=CUSTOM, bounds=(1.0, 5.0), positive={0: 4.0, 1: 4.0, 2: 2.0})]
    )
    assert one(f"histogram_quantile(0.2, {name})") == pytest.approx(0.5)
    assert one(f"histogram_quantile(0.6, {name})") == pytest.approx(3)
    assert one(f"histogram_quantile(0.95, {name})") == 5
    assert one(f"histogram_fraction(0, 3, {name})") == pytest.approx(0.6)
    assert str(the_histogram(name)) == "{count:10, sum:0, (-Inf,1]:4, (1,5]:4, (5,+Inf]:2}"


def test_rates_and_their_resets() -> None:
    name = unique("native_total")
    steps = [{1: 10.0, 2: 20.0}, {1: 12.0, 2: 24.0}, {1: 1.0, 2: 2.0}, {1: 3.0, 2: 2.0}]
    seed_histograms(
        name, [histogram_row(15.0 * n + 15, positive=each, sum=n) for n, each in enumerate(steps)]
    )
    # (0, 60]: 12 - 10 + 1 + 2 in bucket 1, 24 - 20 + 2 + 0 in bucket 2, over 45 s of 60.
    increase = the_histogram(f"increase({name}[1m])", 60)
    assert counts(increase.positive) == pytest.approx({1: 5 * 60 / 45, 2: 6 * 60 / 45})
    assert increase.count == pytest.approx(11 * 60 / 45)
    assert increase.gauge
    assert the_histogram(f"rate({name}[1m])", 60).count == pytest.approx(11 / 45)
    assert counts(the_histogram(f"irate({name}[1m])", 60).positive) == pytest.approx({1: 2 / 15})
    assert one(f"resets({name}[1m])", 60) == 1
    assert one(f"changes({name}[1m])", 60) == 3
    assert at(f"rate({name}[10s])", 60) == {}
    result = ask(f"delta({name}[1m])", 60)
    assert counts(result.series[0].histograms[0].positive) == pytest.approx(
        {1: -7 * 60 / 45, 2: -18 * 60 / 45}
    )
    assert result.warnings == [f'PromQL warning: this native histogram metric is not a gauge: "{name}"']


def test_over_time() -> None:
    name = unique("over_time")
    seed_histograms(name, [histogram_row(10.0 * n, positive={1: 1.0 + n}, sum=n) for n in range(3)])
    total = the_histogram(f"sum_over_time({name}[1m])", 20)
    assert (counts(total.positive), total.count, total.sum) == ({1: 6}, 6, 3)
    assert the_histogram(f"avg_over_time({name}[1m])", 20).count == 2
    assert the_histogram(f"last_over_time({name}[1m])", 20).count == 3
    assert the_histogram(f"first_over_time({name}[1m])", 20).count == 1
    assert one(f"count_over_time({name}[1m])", 20) == 3
    assert one(f"present_over_time({name}[1m])", 20) == 1
    assert at(f"max_over_time({name}[1m])", 20) == {}
    assert at(f"absent_over_time({name}[1m])", 20) == {}
    ranged = PromQL(shared_store()).range(f"histogram_count({name})", NOW_S, NOW_S + 20, 10)
    assert ranged.series[0].values == [1, 2, 3]
    assert the_histogram(f"sum_over_time({name}[1m:10s])", 20).count == 6


def test_sums_take_the_coarser_layout() -> None:
    name = unique("layouts")
    seed_histograms(name, [histogram_row(0, schema=1, positive={1: 1.0, 2: 2.0, 3: 4.0})], n="1")
    seed_histograms(
        name, [histogram_row(0, schema=0, positive={1: 10.0}, zero_count=1.0, zero_threshold=0.5)], n="2"
    )
    total = the_histogram(f"sum({name})")
    assert (total.schema, counts(total.positive), total.zero_count) == (0, {1: 13, 2: 4}, 1)
    mean = the_histogram(f"avg({name})")
    assert counts(mean.positive) == {1: 6.5, 2: 2}
    assert one(f"count({name})") == 2
    assert at(f"max({name})") == {}
    assert ask(f"max({name})").infos == ["PromQL info: ignored histogram in max aggregation"]


def test_a_zero_bucket_takes_up_what_it_would_cut() -> None:
    buckets = Buckets(np.array([0, 1], dtype=np.int64), np.array([2.0, 3.0]))
    narrow = Histogram(0, 6, 0, 0.25, 1, buckets)
    wide = Histogram(0, 1, 0, 0.75, 1)
    total = narrow.plus(wide)
    # 0.75 lies within (0.5, 1], which has two: the zero bucket grows to 1.
    assert (total.zero_threshold, total.zero_count, counts(total.positive)) == (1, 4, {1: 3})


def test_arithmetic(waits: str) -> None:
    assert the_histogram(f"{waits} * 2").count == 20
    assert the_histogram(f"2 * {waits}").sum == 70
    assert counts(the_histogram(f"{waits} / 4").positive) == {1: 1, 2: 1, 3: 0.5}
    assert the_histogram(f"-{waits}").count == -10
    assert the_histogram(f"{waits} + {waits}").count == 20
    assert the_histogram(f"{waits} - {waits}").count == 0
    assert len(ask(f"{waits} == {waits}").series) == 1
    assert ask(f"{waits} != {waits}").series == []
    assert one(f"{waits} == bool {waits}") == 1
    result = ask(f"{waits} > 1")
    assert (result.series, result.infos) == (
        [],
        ['PromQL info: incompatible sample types encountered for binary operator ">": histogram > float'],
    )
    assert the_histogram(f"{waits} or nothing_here").count == 10
    assert the_histogram(f'label_replace({waits}, "x", "y", "", "")').count == 10


def test_floats_and_histograms_do_not_mix(waits: str) -> None:
    name = unique("mixed")
    seed_histograms(name, [histogram_row(0, positive={1: 4.0}), histogram_row(20, positive={1: 4.0})], n="1")
    seed(name, {10.0: 7.0}, n="1")
    seed(name, {0.0: 3.0}, n="2")
    assert at(f"sum({name})", 5) == {}
    assert ask(f"sum({name})", 5).warnings == [
        "PromQL warning: encountered a mix of histograms and floats aggregation"
    ]
    assert at(f"sum({name})", 10) == {(): 10}
    assert one(f'count_over_time({name}{{n="1"}}[1m])', 20) == 3
    assert one(f'changes({name}{{n="1"}}[1m])', 20) == 2
    assert at(f'sum_over_time({name}{{n="1"}}[1m])', 20) == {}
    result = ask(f'max_over_time({name}{{n="1"}}[1m])', 20)
    assert result.series[0].values == [7]
    assert result.infos == [
        f'PromQL info: ignored histograms in a range containing both floats and histograms for metric name "{name}"'
    ]
    ranged = PromQL(shared_store()).range(f'{name}{{n="1"}}', NOW_S, NOW_S + 20, 10).series[0]
    assert [each is not None for each in ranged.histograms] == [True, False, True]
    assert ranged.values[1] == 7
    assert one(f'count_values("v", {name}{{n="2"}})', 0) == 1
    assert at(f'count_values("v", {waits})') == {(("v", "{count:10, sum:35, (1,2]:4, (2,4]:4, (4,8]:2}"),): 1}


def test_classic_and_native_of_one_name_are_told_apart() -> None:
    name = unique("both")
    seed_histograms(name, [histogram_row(0, positive={1: 4.0})], n="1")
    for le, count in (("1", 1.0), ("2", 4.0), ("+Inf", 4.0)):
        seed(name, {0.0: count}, n="2", le=le)
        seed(name, {0.0: count}, n="1", le=le)
    result = ask(f"histogram_quantile(0.5, {name})")
    assert [series.labels for series in result.series] == [{"n": "2"}]
    assert result.warnings == [
        f'PromQL warning: vector contains a mix of classic and native histograms for metric name "{name}"'
    ]
    assert one(f'histogram_fraction(0, 1.5, {name}{{n="2"}})') == pytest.approx(2.5 / 4)
