"""kill -9 of the control room 50 times under ingest: what is missing, what is there twice, and when it is up again.

Three clients send spans, logs and samples over OTLP/HTTP and repeat what was not acknowledged.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from server_kills import killed

__all__ = ["measure"]

_KILLS = 50


def measure() -> list[tuple[str, str]]:
    """Acknowledged, missing, twice; seconds from each start to /readyz. Raises AssertionError if anything is amiss."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = killed(Path(folder) / "data", _KILLS)
    rows = []
    for name, acknowledged in outcome.acknowledged.items():
        stored = Counter(outcome.stored[name])
        missing = len(acknowledged - stored.keys())
        twice = sum(count > 1 for count in stored.values())
        alien = len(stored.keys() - acknowledged)
        rows.append(
            (
                f"rows of {name} acknowledged over {_KILLS} kills; missing; there twice; never sent",
                f"{len(acknowledged)}; {missing}; {twice}; {alien}",
            )
        )
        assert not missing, name
        assert not twice, name
        assert not alien, name
    starts = outcome.starts_s[1:]
    rows += [
        ("requests that had to be repeated", str(outcome.repeats)),
        (
            "process start to ready after a kill, median (worst)",
            f"{statistics.median(starts):.2f} s ({max(starts):.2f})",
        ),
    ]
    return rows
