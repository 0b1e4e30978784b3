"""A control room that is killed under ingest has what it acknowledged, and has it once."""

from __future__ import annotations

from pathlib import Path

import pytest

from server_kills import killed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_what_is_acknowledged_survives_kill_9_and_is_there_once(tmp_path: Path) -> None:
    outcome = killed(tmp_path / "data", kills=3)
    assert len(outcome.starts_s) == 4
    assert outcome.repeats > 0, "no request was in flight at any kill"
    for name, acknowledged in outcome.acknowledged.items():
        assert acknowledged, name
        assert set(outcome.stored[name]) == acknowledged, name
        assert len(outcome.stored[name]) == len(acknowledged), name
    print("up again after", [f"{s:.2f} s" for s in outcome.starts_s])  # noqa: T201 - a figure, not an assertion
