"""A saturated queue: how the tiers share the workers, and how long each waits, against the weights.

Jobs of three tiers are all waiting before the first generate worker starts.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import sqlalchemy as sa

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from rushes.studio.jobs import open_database
from studio_processes import StudioProcesses, eventually

__all__ = ["measure"]

_WEIGHTS: Final = {"premium": 8, "standard": 4, "free": 1}
_JOBS: Final = 60  # of each tier
_WORKERS: Final = 2


def measure() -> list[tuple[str, str]]:
    """Places on workers while all tiers wait; waits by tier."""
    weights = json.dumps({tier: {"weight": weight} for tier, weight in _WEIGHTS.items()})
    roles = ["encode", *["generate"] * _WORKERS]
    with (
        tempfile.TemporaryDirectory() as folder,
        StudioProcesses(
            Path(folder) / "studio", roles=roles, at_once=1, settings={"RUSHES_TIERS": weights}
        ) as studio,
    ):
        engine = open_database(studio.jobs_url)
        try:
            for number in range(_JOBS):
                for tier in _WEIGHTS:
                    body = {"model": "OPENSORA", "prompt": f"a tier {number}", "size": "32x32", "steps": 2}
                    studio.call("POST", "/v1/videos", json=body | {"tier": tier}).raise_for_status()
            total = _JOBS * len(_WEIGHTS)
            eventually(lambda: _count(engine, "waiting") == total, seconds=300, what="the queue's filling")
            for worker in studio.workers[1:]:
                worker.start()
            eventually(lambda: _count(engine, "completed") == total, seconds=600, what="the queue's end")
            with engine.connect() as conn:
                query = "SELECT tier, assigned_ns FROM jobs ORDER BY assigned_ns"
                taken = [(row.tier, row.assigned_ns) for row in conn.execute(sa.text(query))]
        finally:
            engine.dispose()
    begun = taken[0][1]
    left, shared = Counter(dict.fromkeys(_WEIGHTS, _JOBS)), Counter[str]()
    for tier, _ in taken:
        shared[tier] += 1
        left[tier] -= 1
        if not left[tier]:
            break
    sum_of_weights, sum_of_places = sum(_WEIGHTS.values()), shared.total()
    rows = []
    for tier, weight in _WEIGHTS.items():
        waits = [(at - begun) / 1e9 for of, at in taken if of == tier]
        share, due = shared[tier] / sum_of_places, weight / sum_of_weights
        rows += [
            (
                f"{tier}, weight {weight}: share of the places while all tiers wait (its weight's)",
                f"{share:.1%} ({due:.1%})",
            ),
            (
                f"{tier}: wait from the first render on, median; 95th; last of {_JOBS}",
                f"{statistics.median(waits):.1f} s; {statistics.quantiles(waits, n=20)[-1]:.1f}; {waits[-1]:.1f}",
            ),
        ]
    first_free = next(place for place, (tier, _) in enumerate(taken, 1) if tier == "free")
    rows.append((f"place of the first free job among {len(taken)}", str(first_free)))
    return rows


def _count(engine: sa.Engine, state: str) -> int:
    with engine.connect() as conn:
        query = sa.text("SELECT count(*) FROM jobs WHERE state = :state")
        return int(conn.execute(query, {"state": state}).scalar_one())
