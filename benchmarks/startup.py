"""How long a person waits after `rushes up`, and what it holds in memory when idle."""

from __future__ import annotations

import statistics
import time

from benchmarks.running import running

__all__ = ["measure"]

_RUNS = 3
_SETTLED_S = 45  # longer than from one look of the store's upkeep to the next


def measure() -> list[tuple[str, str]]:
    """Median and worst of several starts in fresh folders."""
    pages, models, memory = [], [], {}
    for run in range(1, _RUNS + 1):
        with running() as up:
            pages.append(up.page_after())
            models.append(up.loaded_after())
            if run == _RUNS:
                time.sleep(_SETTLED_S)
                memory = up.rss_mb()
    rows = [
        (f"process start to first page, median of {_RUNS} (worst)", _seconds(pages)),
        (
            f"process start to all models loaded, small checkpoints built first (worst of {_RUNS})",
            _seconds(models),
        ),
    ]
    rows += [
        (f"RSS idle, {_SETTLED_S} s later, {name}", f"{mb:.0f} MB") for name, mb in sorted(memory.items())
    ]
    return rows


def _seconds(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s ({max(values):.2f})"
