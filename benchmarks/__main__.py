"""`python -m benchmarks [name ...]`: runs the benchmarks and prints a table; docs/benchmarks.md keeps results."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks import (
    ingest,
    instrument_cost,
    instrument_leak,
    instrument_truth,
    memory,
    promql,
    sdk_cost,
    startup,
    store,
    store_kills,
    video,
)

BENCHMARKS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "startup": startup.measure,
    "video": video.measure,
    "sdk_cost": sdk_cost.measure,
    "instrument_cost": instrument_cost.measure,
    "instrument_truth": instrument_truth.measure,
    "promql": promql.measure,
    "ingest": ingest.measure,
    "store": store.measure,
    "store_kills": store_kills.measure,
    "memory": memory.measure,
}
# Only by name: minutes of the same thing.
LONG: dict[str, Callable[[], list[tuple[str, str]]]] = {"instrument_leak": instrument_leak.measure}


def main(names: list[str]) -> int:
    """Runs the named benchmarks, or all that are short."""
    known = BENCHMARKS | LONG
    unknown = set(names) - known.keys()
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, `make bench`\n")
    for name in names or BENCHMARKS:
        print(f"| {name} | |\n|---|---|")
        for what, figure in known[name]():
            print(f"| {what} | {figure} |")
        print(flush=True)
    return 0


sys.exit(main(sys.argv[1:]))
