"""`python -m benchmarks [name ...]`: runs the benchmarks and prints a table; docs/benchmarks.md keeps results.

`python -m benchmarks name --option value ...` runs one with options.
"""

from __future__ import annotations

import itertools
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from benchmarks import (
    chaos,
    ingest,
    instrument_cost,
    instrument_gpu,
    instrument_leak,
    instrument_truth,
    memory,
    promql,
    sdk_cost,
    startup,
    store,
    store_kills,
    tiers,
    video,
)

BENCHMARKS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "startup": startup.measure,
    "video": video.measure,
    "sdk_cost": sdk_cost.measure,
    "instrument_cost": instrument_cost.measure,
    "instrument_truth": instrument_truth.measure,
    "instrument_gpu": instrument_gpu.measure,
    "promql": promql.measure,
    "ingest": ingest.measure,
    "store": store.measure,
    "store_kills": store_kills.measure,
    "memory": memory.measure,
    "chaos": chaos.measure,
    "chaos_postgres": chaos.measure_on_postgres,
    "tiers": tiers.measure,
}
# Only by name: minutes of the same thing.
LONG: dict[str, Callable[[], list[tuple[str, str]]]] = {"instrument_leak": instrument_leak.measure}

WITH_OPTIONS: dict[str, Callable[[Sequence[str]], list[tuple[str, str]]]] = {
    "chaos": chaos.measure,
    "promql": promql.measure,
}


def main(arguments: list[str]) -> int:
    """Runs the named benchmarks, or all that are short; options are those of the one that is named."""
    known = BENCHMARKS | LONG
    names = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    options = arguments[len(names) :]
    if options and (len(names) != 1 or names[0] not in WITH_OPTIONS):
        print(f"options go with one of {', '.join(WITH_OPTIONS)}", file=sys.stderr)
        return 2
    unknown = set(names) - known.keys()
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    how = f"`python -m benchmarks {' '.join(arguments)}`" if options else "`make bench`"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {how}\n")
    for name in names or BENCHMARKS:
        print(f"| {name} | |\n|---|---|")
        for what, figure in WITH_OPTIONS[name](options) if options else known[name]():
            print(f"| {what} | {figure} |")
        print(flush=True)
    return 0


sys.exit(main(sys.argv[1:]))
