"""Deadlines, cancellation and the sample limit; and that the store's own functions agree with ours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promql_seeding import STALE, seed
from rushes.query.promql import Deadline, PromQL, PromQLError, grids
from rushes.query.promql.model import Vector
from telemetry_store import NOW_S, shared_store, unique


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """The shared store, with what was asked of it."""

    def __init__(self, clock: Clock, takes: float = 0) -> None:
        self.timeouts: list[float | None] = []
        self.statements: list[str] = []
        self._clock = clock
        self._takes = takes

    def query(self, sql: str, params: Any = None, *, timeout_s: float | None = None) -> Any:
        self.timeouts.append(timeout_s)
        self.statements.append(sql)
        self._clock.now += self._takes
        return shared_store().query(sql, params, timeout_s=timeout_s)


def test_the_store_is_told_what_is_left_and_nodes_ask_before_they_begin() -> None:
    name, clock = unique("slow"), Clock()
    seed(name, {0.0: 1.0})
    store: Any = Counting(clock, takes=0.4)
    with pytest.raises(PromQLError, match="timed out") as caught:
        PromQL(store).instant(f"{name} + {name}_2 + {name}_3", NOW_S, deadline=Deadline(1, clock))
    assert caught.value.error_type == "timeout"
    assert store.timeouts == pytest.approx([1, 0.6, 0.2])


def test_a_cancelled_query_ends() -> None:
    deadline = Deadline(60)
    deadline.check()
    deadline.cancel()
    with pytest.raises(PromQLError) as caught:
        PromQL(shared_store()).range("vector(1)", NOW_S, NOW_S + 10, 1, deadline=deadline)
    assert caught.value.error_type == "canceled"


def test_remaining_never_ends_at_nothing() -> None:
    clock = Clock()
    deadline = Deadline(5, clock)
    clock.now = 2
    assert deadline.remaining() == 3
    clock.now = 9
    assert deadline.remaining() == 0.001
    with pytest.raises(PromQLError, match="timed out"):
        deadline.check()


def test_one_statement_is_asked_once() -> None:
    name, clock = unique("twice_total"), Clock()
    seed(name, {0.0: 1.0, 10.0: 2.0})
    store: Any = Counting(clock)
    promql = PromQL(store)
    promql.instant(f"rate({name}[1m]) / (rate({name}[1m]) + rate({name}[1m]))", NOW_S + 10)
    assert len(store.timeouts) == 3  # are there histograms, the rates, the labels
    promql.instant(f"rate({name}[1m])", NOW_S + 10)
    assert len(store.timeouts) == 5  # the labels are known by now


def test_what_is_asked_does_not_depend_on_earlier_queries() -> None:
    name, other = unique("planned_total"), unique("planned_total")
    for n in range(3):
        seed(name, {0.0: 1.0, 10.0: 2.0}, n=str(n), odd=str(n % 2))
        seed(other, {0.0: 1.0, 10.0: 2.0}, n=str(n), odd=str(n % 2))
    fresh: Any = Counting(Clock())
    PromQL(fresh).range(f'rate({name}{{odd="1"}}[1m])', NOW_S, NOW_S + 600, 10)
    used: Any = Counting(Clock())
    promql = PromQL(used)
    for query in (name, f"rate({name}[1m])", other, f'{name}{{odd!="1"}}'):
        promql.range(query, NOW_S, NOW_S + 600, 10)
    used.statements.clear()
    promql.range(f'rate({name}{{odd="1"}}[1m])', NOW_S, NOW_S + 600, 10)
    assert used.statements == fresh.statements[:2]  # all but the labels, which never change


@pytest.mark.parametrize(
    "query",
    ["{}", "avg_over_time({}[1m])", "rate({}[1m])", "avg_over_time({}[10s:100ms])", "{}[1m]"],
)
def test_a_query_may_hold_so_many_samples(query: str) -> None:
    name = unique("many_total")
    for n in range(30):
        seed(name, {float(at): float(at) for at in range(10)}, n=str(n))
    small = PromQL(shared_store(), max_samples=20)
    with pytest.raises(PromQLError) as caught:
        small.instant(query.format(name), NOW_S + 9)
    assert caught.value.error_type == "execution"
    assert (
        caught.value.message == "query processing would load too many samples into memory in query execution"
    )
    assert PromQL(shared_store(), max_samples=3000).instant(query.format(name), NOW_S + 9).series


_SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 600_000),
        st.one_of(
            st.floats(-1e6, 1e6), st.integers(0, 50).map(float), st.sampled_from((math.nan, STALE, math.inf))
        ),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda sample: sample[0],
)


@settings(max_examples=60, derandomize=True, database=None, deadline=None)
@given(
    _SAMPLES,
    st.sampled_from(
        (
            "{}",
            *(
                f"{name}({{}}[{{}}])"
                for name in ("rate", "increase", "delta", "irate", "idelta", "last_over_time")
            ),
        )
    ),
    st.sampled_from(("1m", "137ms", "5m", "30s")),
    st.integers(1, 90_000),
    st.sampled_from(("", " offset 1m", " offset -30s")),
)
def test_the_stores_functions_and_ours_agree(
    samples: list[tuple[int, float]], query: str, window: str, step_ms: int, offset: str
) -> None:
    """The same range function by the store and by numpy, edges and markers included."""
    name = unique("grid_total")
    seed(name, [(ts / 1000, value) for ts, value in sorted(samples)])
    expr = query.format(name, window).removesuffix(")") + offset + (")" if query.endswith(")") else "")
    step = max(step_ms, 5_000) / 1000
    promql = PromQL(shared_store())
    by_store = promql.range(expr, NOW_S, NOW_S + 600, step).series
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "per_series", _none)
        by_us = promql.range(expr, NOW_S, NOW_S + 600, step).series
    assert [series.timestamps for series in by_store] == [series.timestamps for series in by_us]
    for theirs, ours in zip(by_store, by_us, strict=True):
        np.testing.assert_allclose(theirs.values, ours.values, rtol=1e-9, atol=1e-9)


def _none(*_: Any) -> Vector | None:
    return None
