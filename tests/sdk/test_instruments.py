"""Instruments hold to their declaration: what is not declared raises here and is counted in production."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recording import Recorded
from rushes import sdk
from rushes.sdk import instruments, policy


@pytest.fixture
def production() -> Iterator[None]:
    sdk.set_strict(False)
    yield
    sdk.set_strict(True)


def test_an_undeclared_label_raises_under_test(recorded: Recorded) -> None:
    with pytest.raises(sdk.Undeclared, match=r"labels \['colour', 'tier'\] given"):
        instruments.get("queue_wait_duration_seconds").record(1, tier="free", colour="red")  # type: ignore[attr-defined]
    with pytest.raises(sdk.Undeclared, match="no value 'gold'"):
        instruments.get("queue_wait_duration_seconds").record(1, tier="gold")  # type: ignore[attr-defined]


def test_in_production_it_is_dropped_and_counted(recorded: Recorded, production: None) -> None:
    before = policy.rejected().get("job_age_seconds", 0)
    instruments.get("job_age_seconds").record(1, tier="gold", model="M")  # type: ignore[attr-defined]
    assert policy.rejected()["job_age_seconds"] == before + 1
    assert not any('tier="gold"' in series for series in recorded.metrics("job_age_seconds_count"))
    exposed = recorded.metrics("rushes_telemetry_rejected_total")
    assert exposed['rushes_telemetry_rejected_total{name="job_age_seconds"}'] == before + 1


def test_there_is_no_instrument_that_is_not_declared() -> None:
    with pytest.raises(AttributeError, match="declares no metric 'queue_depth'"):
        _ = instruments.queue_depth  # type: ignore[attr-defined]


def test_counters_exist_at_zero_for_every_closed_label(recorded: Recorded) -> None:
    instruments.video_generation_failure_total.zero(model=["ZERO"])
    series = {k: v for k, v in recorded.metrics("video_generation_failure_total").items() if "ZERO" in k}
    assert len(series) == 4 * 8
    assert set(series.values()) == {0}


def test_an_observed_gauge_is_read_at_collection(recorded: Recorded) -> None:
    depth = [3.0]
    instruments.queue_depth_total.observe(
        lambda: [(depth[0], {"tier": "free", "model": "OBSERVED", "status": "waiting"})]
    )
    series = 'queue_depth_total{model="OBSERVED",status="waiting",tier="free"}'
    assert recorded.metrics("queue_depth_total")[series] == 3
    depth[0] = 5
    assert recorded.metrics("queue_depth_total")[series] == 5
