"""A small chaos run; the large one is `python -m benchmarks chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos import CHECKPOINT_EVERY, SETTINGS, Chaos
from studio_processes import StudioProcesses

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_no_video_is_lost_doubled_or_charged_twice(tmp_path: Path) -> None:
    with StudioProcesses(tmp_path, roles=("all", "all"), settings=SETTINGS) as studio:
        chaos = Chaos(studio, seed=5)
        try:
            account = chaos.run(9, kills=3, stops=0)
            assert account.lost == {}
            assert account.objects == account.distinct
            assert account.damaged == []
            assert account.not_charged_once == []
            assert account.discrepancies == []
            assert account.reserved_left == 0
            assert account.left_in_scratch == []
            assert account.different == []
            assert all(steps <= CHECKPOINT_EVERY for steps in account.recomputed)
            left = chaos.cancel(4)
            assert left.busy_workers == left.objects_left == left.scratch_left == left.reserved_left == 0
            assert left.discrepancies == []
        finally:
            chaos.close()
