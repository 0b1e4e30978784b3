"""A job's end as telemetry: revenue, cost, device time and waste, each only where it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from recording import Recorded
from rushes.studio.cost import Attempt, Book
from rushes.studio.jobs import Job, JobState
from rushes.studio.outcome import Ending

Make = Callable[..., Attempt]
T0 = 1_767_960_000_000_000_000


def _job(state: JobState, **fields: Any) -> Job:
    values: dict[str, Any] = {
        "id": "video_1", "key_id": "key_1", "tier": "premium", "model": "MOCHI1", "seconds": 2.0, "width": 64,
        "height": 64, "num_frames": 48, "fps": 24, "steps": 8, "seed": 1, "guidance_scale": 1.0, "trace_id": "a" * 32,
        "root_span_id": "b" * 16, "accepted_ns": T0, "finished_ns": T0 + 10**10, "state": state,
        "credits_reserved": 20, "credits_charged": 20,
    }  # fmt: skip
    return Job(**values | fields)


def _root(recorded: Recorded) -> Mapping[str, Any]:
    return recorded.span("video_generation_request").attributes or {}


_NAMES = (
    "revenue_per_generation_usd_count",
    "revenue_per_generation_usd_sum",
    "rushes_cost_per_delivered_second_usd_count",
    "rushes_cost_per_delivered_second_usd_sum",
    "rushes_compute_seconds_total",
    "rushes_compute_cost_usd_total",
    "rushes_wasted_compute_seconds_total",
)

Grown = Callable[..., float]


@pytest.fixture
def grown(recorded: Recorded) -> Grown:
    """By how much a metric has grown since the test began: (name, part of the labels)."""

    def total(name: str, labels: str) -> float:
        return sum(value for series, value in recorded.metrics(name).items() if labels in series)

    before = {name: recorded.metrics(name) for name in _NAMES}

    def grown(name: str, labels: str = "") -> float:
        return total(name, labels) - sum(v for series, v in before[name].items() if labels in series)

    return grown


@pytest.fixture
def made(book: Book, attempt: Make) -> None:
    """A lost render of 30 s, 20 of them of use, and one of 40 s that brought the video."""
    for one in (attempt(1, 0, 30, kept=20), attempt(3, 40, 80)):
        book.open(one)


@pytest.mark.usefixtures("made")
def test_a_delivered_video_tells_cost_and_revenue(
    engine: sa.Engine, recorded: Recorded, grown: Grown
) -> None:
    Ending(engine, credit_usd=0.05).completed(_job(JobState.COMPLETED))
    cost = 70 * 2.5 / 3600
    assert grown("revenue_per_generation_usd_sum") == pytest.approx(1.0)
    assert grown("rushes_cost_per_delivered_second_usd_sum") == pytest.approx(cost / 2)
    assert grown("rushes_compute_seconds_total", 'outcome="completed"') == pytest.approx(70)
    assert grown("rushes_compute_cost_usd_total", 'device_kind="gpu"') == pytest.approx(cost)
    assert grown("rushes_wasted_compute_seconds_total") == pytest.approx(10)
    root = _root(recorded)
    assert root["rushes.attempts"] == 2
    assert root["rushes.compute_seconds"] == 70
    assert root["rushes.wasted_compute_seconds"] == 10
    assert root["rushes.compute_cost_usd"] == pytest.approx(cost)
    assert root["rushes.revenue_usd"] == pytest.approx(1.0)


def test_without_prices_there_is_device_time_and_no_money(
    engine: sa.Engine, book: Book, attempt: Make, recorded: Recorded, grown: Grown
) -> None:
    book.open(attempt(1, 0, 30, usd_per_second=None, device="cpu", device_kind="cpu"))
    Ending(engine).completed(_job(JobState.COMPLETED))
    for name in ("revenue_per_generation_usd_count", "rushes_cost_per_delivered_second_usd_count"):
        assert grown(name) == 0
    assert grown("rushes_compute_cost_usd_total") == 0
    assert grown("rushes_compute_seconds_total", 'device_kind="cpu"') == pytest.approx(30)
    assert {"rushes.compute_cost_usd", "rushes.revenue_usd"}.isdisjoint(_root(recorded))


@pytest.mark.usefixtures("made")
def test_what_a_worker_did_after_a_cancellation_is_counted_once(
    engine: sa.Engine, book: Book, recorded: Recorded, grown: Grown
) -> None:
    ending, job = Ending(engine), _job(JobState.CANCELLED, credits_charged=0)
    ending.cancelled(job)
    told = grown("rushes_wasted_compute_seconds_total", 'cause="cancelled"')
    assert told == pytest.approx(60)
    last = book.attempts("video_1")[-1]
    book.reach("video_1", last.number, last.end_ns + 2 * 10**9)
    for _ in range(2):
        ending.worked_on(job)
    assert grown("rushes_wasted_compute_seconds_total", 'cause="cancelled"') == pytest.approx(62)
    assert grown("rushes_compute_seconds_total", 'outcome="cancelled"') == pytest.approx(72)


@pytest.mark.usefixtures("made")
def test_a_blocked_video_is_told_from_a_failed_one(
    engine: sa.Engine, recorded: Recorded, grown: Grown
) -> None:
    Ending(engine, credit_usd=1).failed(
        _job(JobState.FAILED, credits_charged=0, failure_reason="safety_block")
    )
    assert grown("rushes_compute_seconds_total", 'outcome="blocked"') == pytest.approx(70)
    assert grown("rushes_wasted_compute_seconds_total", 'cause="blocked"') == pytest.approx(60)
    assert grown("revenue_per_generation_usd_count") == 0


def test_a_job_that_no_worker_had_says_nothing_of_devices(
    engine: sa.Engine, recorded: Recorded, grown: Grown
) -> None:
    Ending(engine, credit_usd=1).cancelled(_job(JobState.CANCELLED, credits_charged=0))
    assert not {"rushes.attempts", "rushes.compute_seconds"} & _root(recorded).keys()
