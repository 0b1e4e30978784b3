"""Numbers and time ranges as people read and write them."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rushes.web import numbers
from rushes.web.timerange import RELATIVE, BadTimeRangeError, TimeRange, parse


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (1.2404, "1.24 s"), (0.68, "680 ms"), (0.9999, "1 s"), (0.0000032, "3.2 µs"), (4e-9, "4 ns"),
        (59.4, "59.4 s"), (60, "1 min"), (135, "2 min 15 s"), (4320, "1 h 12 min"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (892, "892"), (12_345, "12.3 k"), (999.9, "1 k"), (4_500_000, "4.5 M"), (7.256, "7.26")],
)
def test_counts(value: float, text: str) -> None:
    assert numbers.count(value) == text


@given(st.floats(1e-9, 1e9))
def test_a_shown_time_is_near_the_true_one(seconds: float) -> None:
    scale = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86_400}
    words = numbers.duration(seconds).split()
    shown = sum(float(n) * scale[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert shown == pytest.approx(seconds, rel=0.05)


def test_shares_and_ids() -> None:
    assert [numbers.percent(r) for r in (0, 0.0003, 0.123, 1)] == ["0.0 %", "< 0.1 %", "12.3 %", "100.0 %"]
    assert numbers.short("video_0123456789abcdef") == "video_0123…abcdef"
    assert numbers.short("short") == "short"


def test_dollars() -> None:
    assert [numbers.usd(v) for v in (0, 0.0001234, 0.05, 0.1, 1.239, 1200)] == [
        "$0.00", "$0.000123", "$0.05", "$0.10", "$1.24", "$1200.00",
    ]  # fmt: skip


def test_relative_and_absolute_ranges() -> None:
    assert parse({}, 1_000_002) == TimeRange(996_400, 1_000_000, "1h")
    assert parse({"from": "2026-01-28T10:00:00Z", "to": "1769598000"}, 0) == TimeRange(
        1_769_594_400, 1_769_598_000
    )
    assert parse({"from": "999000"}, 1_000_000).end_s == 1_000_000


@given(st.sampled_from(sorted(RELATIVE)), st.floats(1e6, 4e9))
def test_a_range_comes_back_from_its_own_link(name: str, now_s: float) -> None:
    over = parse({"range": name}, now_s)
    assert parse(dict(p.split("=") for p in over.query.split("&")), now_s) == over
    fixed = TimeRange(round(over.start_s), round(over.end_s))
    assert parse(dict(p.split("=") for p in fixed.query.split("&")), 0) == fixed
    assert 60 <= over.length_s / over.step_s <= 180


@given(st.dictionaries(st.sampled_from(["range", "from", "to"]), st.text(max_size=30)))
def test_any_text_is_a_range_or_a_clear_error(params: dict[str, str]) -> None:
    try:
        over = parse(params, 1e9)
    except BadTimeRangeError as error:
        over, said = None, str(error)
    assert over.length_s > 0 if over else len(said) > 20
