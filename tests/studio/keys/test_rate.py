"""The token bucket, against a clock of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.studio.keys import ApiKey, RateLimiter

KEY = ApiKey(
    id="key_1",
    name="ci",
    last_four="abcd",
    tier="standard",
    rate_limit_per_minute=6,
    quota_per_day=1,
    credits=0,
    active=True,
    created_ns=0,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_one_token_every_ten_seconds() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    assert [limiter.take(KEY) for _ in range(6)] == [0.0] * 6
    assert limiter.take(KEY) == pytest.approx(10.0)
    clock.now += 4.0
    assert limiter.take(KEY) == pytest.approx(6.0)
    clock.now += 6.0
    assert limiter.take(KEY) == 0.0
    assert limiter.take(KEY) == pytest.approx(10.0)


def test_keys_have_buckets_of_their_own() -> None:
    limiter = RateLimiter(Clock())
    one = replace(KEY, rate_limit_per_minute=1)
    other = replace(one, id="key_2")
    assert limiter.take(one) == 0.0
    assert limiter.take(one) > 0.0
    assert limiter.take(other) == 0.0


def test_a_limit_of_nothing_lets_nothing_through() -> None:
    assert RateLimiter(Clock()).take(replace(KEY, rate_limit_per_minute=0)) > 0.0


@given(per_minute=st.integers(1, 600), pauses=st.lists(st.floats(0, 30, allow_nan=False), max_size=60))
def test_never_more_than_burst_plus_refill(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    key = replace(KEY, rate_limit_per_minute=per_minute)
    allowed = 0
    for pause in pauses:
        clock.now += pause
        allowed += limiter.take(key) == 0.0
    assert allowed <= per_minute + (clock.now - 100.0) * per_minute / 60 + 1e-6


@given(per_minute=st.integers(1, 600))
def test_waiting_as_long_as_told_is_enough(per_minute: int) -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    key = replace(KEY, rate_limit_per_minute=per_minute)
    while (wait := limiter.take(key)) == 0.0:
        pass
    clock.now += wait + 1e-6
    assert limiter.take(key) == 0.0
