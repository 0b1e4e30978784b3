"""A small chaos run, on either database; the large ones are the benchmarks `chaos` and `chaos_postgres`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from chaos import CHECKPOINT_EVERY, SETTINGS, Chaos
from postgres_process import PostgresProcess, installed
from studio_processes import StudioProcesses

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[PostgresProcess | None]:
    if request.param == "sqlite":
        yield None
        return
    if installed() is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with TemporaryDirectory() as folder:  # not pytest's, see tests/studio/conftest.py
        yield PostgresProcess(Path(folder) / "server")


def test_no_video_is_lost_doubled_or_charged_twice(tmp_path: Path, database: PostgresProcess | None) -> None:
    with StudioProcesses(tmp_path, roles=("all", "all"), database=database, settings=SETTINGS) as studio:
        chaos = Chaos(studio, seed=5)
        try:
            account = chaos.run(9, kills=3, stops=0)
            assert account.kills.total() == 3
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
