"""A studio whose every process is killed and stopped at random while it makes videos: what is lost, doubled, left over.

`python -m benchmarks chaos [--jobs 300] [--workers 3] [--postgres | --jobs-url URL] [--json FILE] ...`
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from chaos import CHECKPOINT_EVERY, SETTINGS, STOPPED_S, Account, Cancelled, Chaos
from postgres_process import PostgresProcess, installed
from studio_processes import StudioProcesses

__all__ = ["measure", "measure_on_postgres"]


def measure(arguments: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Runs it and says what came of the videos. Raises AssertionError if anything is amiss, after saying it."""
    asked = _options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        database = PostgresProcess(Path(folder) / "postgres") if asked.postgres else None
        with StudioProcesses(
            Path(folder) / "studio",
            roles=["all"] * asked.workers,
            jobs_url=asked.jobs_url,
            database=database,
            settings=SETTINGS,
        ) as studio:
            chaos = Chaos(studio, asked.seed)
            try:
                account = chaos.run(asked.jobs, kills=asked.kills, stops=asked.stops)
                cancelled = chaos.cancel(asked.cancel)
            finally:
                chaos.close()
    if asked.json:
        told = {"account": vars(account), "cancelled": vars(cancelled)}
        plain = lambda value: sorted(value) if isinstance(value, set) else asdict(value)  # noqa: E731 - a line
        asked.json.write_text(json.dumps(told, indent=1, default=plain))
    rows = [*_account(account), *_cancelled(cancelled)]
    amiss = _amiss(account, cancelled)
    if amiss:
        print(*(f"| {what} | {figure} |" for what, figure in rows), *amiss, sep="\n")
        raise AssertionError("; ".join(amiss))
    return rows


def measure_on_postgres() -> list[tuple[str, str]]:
    """The same on a PostgreSQL of its own, if there is one."""
    if installed() is None:
        return [("not measured", "PostgreSQL is not installed (Debian's package postgresql)")]
    return measure(["--postgres"])


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, help="default: one for each 8 jobs")
    parser.add_argument(
        "--stops", type=int, help="SIGSTOP, longer than a worker may be silent; default: one for each 60 jobs"
    )
    parser.add_argument(
        "--cancel", type=int, default=100, help="jobs that are cancelled at random moments afterwards"
    )
    parser.add_argument("--seed", type=int, default=1)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--postgres", action="store_true", help="on a PostgreSQL of its own, which is killed too"
    )
    where.add_argument("--jobs-url", help="an empty database that is there already")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    asked.kills = asked.jobs // 8 if asked.kills is None else asked.kills
    asked.stops = asked.jobs // 60 if asked.stops is None else asked.stops
    return asked


def _account(account: Account) -> list[tuple[str, str]]:
    def times(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

    recomputed, recovery = account.recomputed or [0], account.recovery_s or [0.0]
    return [
        ("videos accepted; lost", f"{len(account.accepted)}; {len(account.lost)}"),
        ("kill -9", times(account.kills)),
        (f"stopped for {STOPPED_S:g} s, longer than a worker may be silent", times(account.stops)),
        (
            "videos that a worker was lost with; whose bytes differ",
            f"{len(account.disturbed)}; {len(account.different)}",
        ),
        (
            "objects stored; contents of videos; damaged",
            f"{account.objects}; {account.distinct}; {len(account.damaged)}",
        ),
        ("videos not charged exactly once", str(len(account.not_charged_once))),
        (
            "discrepancies in the ledger; credits left reserved",
            f"{len(account.discrepancies)}; {account.reserved_left}",
        ),
        (
            f"steps done again for a lost render, mean (most; a checkpoint each {CHECKPOINT_EVERY})",
            f"{statistics.mean(recomputed):.1f} ({max(recomputed)})",
        ),
        (
            "a worker's last sign to another's start on its video, median (worst)",
            f"{statistics.median(recovery):.1f} s ({max(recovery):.1f})",
        ),
        ("workers that came back to a video that another had been given", str(account.came_back)),
        ("folders left in scratch", str(len(account.left_in_scratch))),
        ("the whole", f"{account.seconds:.0f} s"),
    ]


def _cancelled(left: Cancelled) -> list[tuple[str, str]]:
    states = ", ".join(f"{count} {state}" for state, count in sorted(left.by_state.items()) if count)
    return [
        (f"{left.asked} more, cancelled at random moments", states),
        (
            "left of them: busy workers; objects; folders; reserved credits",
            f"{left.busy_workers}; {left.objects_left}; {left.scratch_left}; {left.reserved_left}",
        ),
    ]


def _amiss(account: Account, left: Cancelled) -> list[str]:
    """What should not be, in words."""
    found = {
        "videos were lost": account.lost,
        "recovered videos differ": account.different,
        "objects are damaged or missing": account.damaged,
        "objects that no video has": account.objects - account.distinct,
        "videos were not charged once": account.not_charged_once,
        "credits don't add up": account.discrepancies + left.discrepancies,
        "credits stayed reserved": account.reserved_left + left.reserved_left,
        "folders stayed": account.left_in_scratch or left.scratch_left,
        "objects of cancelled videos stayed": left.objects_left,
        "workers went on with cancelled videos": left.busy_workers,
        # A stopped worker that comes back finishes the step that it was in before it notices.
        "more steps were done again than lie between checkpoints": [
            s for s in account.recomputed if s > CHECKPOINT_EVERY + bool(account.stops)
        ],
    }
    return [f"{what}: {which}" for what, which in found.items() if which]
