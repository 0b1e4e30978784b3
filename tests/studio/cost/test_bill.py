"""What a job's attempts cost and waste, against figures worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.settings import Cost
from rushes.studio.cost import Attempt, Bill, Cause, Outcome, describe

Make = Callable[..., Attempt]


def _waste(bill: Bill) -> dict[Cause, float]:
    found: dict[Cause, float] = {}
    for attempt in bill.attempts:
        for cause, seconds in bill.waste(attempt, since_ns=attempt.told_ns):
            found[cause] = found.get(cause, 0) + seconds
    return found


def test_a_video_made_at_the_first_try_wastes_nothing(attempt: Make) -> None:
    bill = Bill([attempt(1, 0, 2, role="encode"), attempt(2, 5, 45)], "completed")
    assert bill.compute_s == 42
    assert bill.usd == pytest.approx(42 * 2.5 / 3600)
    assert bill.wasted_s == 0


def test_of_a_lost_attempt_only_what_was_gone_on_from_is_of_use(attempt: Make) -> None:
    bill = Bill([attempt(1, 0, 30, kept=20), attempt(3, 40, 70)], "completed")
    assert bill.compute_s == 60
    assert _waste(bill) == {"recovery": 10}


def test_a_lost_attempt_without_a_checkpoint_is_all_waste(attempt: Make) -> None:
    bill = Bill([attempt(1, 0, 30, cause="hung"), attempt(3, 40, 70), attempt(5, 71, 90)], "completed")
    assert _waste(bill) == {"hung": 30, "recovery": 30}


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "blocked"])
def test_without_a_video_all_of_it_is_waste(attempt: Make, outcome: Outcome) -> None:
    bill = Bill(
        [attempt(1, 0, 2, role="encode"), attempt(2, 2, 12, kept=9), attempt(4, 12, 13)],
        outcome,
    )
    assert _waste(bill) == {"recovery": 3, outcome: 10}
    assert bill.wasted_s == bill.compute_s == 13


def test_what_is_told_is_not_told_again(attempt: Make) -> None:
    late = attempt(2, 0, 12, told=10)
    assert late.untold_s == 2
    assert _waste(Bill([late], "cancelled")) == {"cancelled": 2}
    assert _waste(Bill([attempt(2, 0, 12, told=10, kept=4), attempt(4, 13, 14)], "completed")) == {
        "recovery": 2
    }


def test_a_provider_bills_its_video_and_no_device_time(attempt: Make) -> None:
    bought = attempt(0, 50, 58, role="provider", device_kind="provider", usd_per_second=0.4)
    bill = Bill([bought, attempt(2, 0, 60, device_kind="cpu", usd_per_second=0.0)], "completed")
    assert bill.compute_s == 60
    assert bill.usd == pytest.approx(3.2)
    assert bill.wasted_s == 0


def test_a_price_that_is_not_known_leaves_the_whole_unknown(attempt: Make) -> None:
    assert Bill([attempt(1, 0, 1), attempt(2, 1, 2, usd_per_second=None)], "completed").usd is None
    assert Bill([], "cancelled").usd is None
    assert Bill([attempt(1, 0, 9, usd_per_second=0.0)], "completed").usd == 0


@given(
    spans=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 50), st.integers(-10, 60)), max_size=6),
    outcome=st.sampled_from(["completed", "failed", "cancelled", "blocked"]),
)
def test_waste_is_a_part_of_the_whole(spans: list[tuple[int, int, int]], outcome: Outcome) -> None:
    attempts = [
        Attempt(
            job_id="v",
            number=number,
            role="encode" if number % 2 else "generate",
            tier="free",
            model="LTX2",
            device="cpu",
            device_kind="cpu",
            usd_per_second=1.0,
            start_ns=start * 10**9,
            end_ns=(start + length) * 10**9,
            kept_ns=(start + kept) * 10**9,
        )
        for number, (start, length, kept) in enumerate(spans, 1)
    ]
    bill = Bill(attempts, outcome)
    assert 0 <= bill.wasted_s <= bill.compute_s + 1e-9
    if outcome != "completed":
        assert bill.wasted_s == pytest.approx(bill.compute_s)
    if attempts:
        assert bill.usd == pytest.approx(bill.compute_s)


def test_a_gpus_price_is_that_of_the_longest_part_of_its_name() -> None:
    prices = Cost(gpu_usd_per_hour={"h100": 2.5, "H100 NVL": 3.0, "A100": 1.8})
    assert prices.of_gpu("NVIDIA H100 80GB HBM3") == 2.5
    assert prices.of_gpu("NVIDIA H100 NVL") == 3.0
    assert prices.of_gpu("NVIDIA L4") is None


def test_a_cpu_has_a_price_if_one_is_set() -> None:
    assert describe("cpu", Cost()).usd_per_second is None
    device = describe("cpu", Cost(cpu_usd_per_hour=0.36))
    assert (device.name, device.kind) == ("cpu", "cpu")
    assert device.usd_per_second == pytest.approx(0.0001)
