"""The store by itself: a trace by its id among 10 million spans, and what a span and a sample take on disk.

Rows are made in the engine, in a process of its own; traces are read as the API answers with them, OTLP/JSON as text.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rushes.query.traces import Traces
from rushes.store.chdb_store import ChdbStore

__all__ = ["measure"]

_SPANS = 10_000_000
_OF_A_TRACE = 40
_SAMPLES = 20_000_000
_SERIES = 20_000
_LOOK_UPS = 100
_DAY_MS = 86_400_000


def measure() -> list[tuple[str, str]]:
    """Milliseconds, bytes. The engine has one folder a process, hence another one."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.store", folder], check=True, capture_output=True, text=True
        )
    return [(what, figure) for what, _, figure in (line.partition("\t") for line in done.stdout.splitlines())]


def _spans(store: ChdbStore, begin_s: int) -> None:
    """A day of traces, ten inserts; ids are hashes, durations and a third of the attributes random."""
    traces, per = _SPANS // _OF_A_TRACE, _SPANS // 10
    for part in range(10):
        store._statement(  # noqa: SLF001 - rows that come from nowhere but the engine
            f"""
            INSERT INTO spans (ts, trace_id, span_id, parent_span_id, name, kind, service, duration, status,
              attributes, attributes_typed, resource, scope_name, scope_version)
            WITH number + {part * per} AS n, intDiv(n, {_OF_A_TRACE}) AS trace, n % {_OF_A_TRACE} AS place,
              lower(hex(sipHash128(trace))) AS id
            SELECT toDateTime64({begin_s}, 9, 'UTC')
                + toIntervalMillisecond(trace * {_DAY_MS / traces} + place * 500),
              id, lower(hex(sipHash64(n))), if(place = 0, '', lower(hex(sipHash64(n - place)))),
              arrayElement(['video_generation_request', 'gateway', 'prompt_processing', 'safety.pregen', 'queue_wait',
                'dit_inference', 'denoising_step', 'vae_decode', 'upload', 'c2pa'], 1 + place % 10),
              'internal', arrayElement(['gateway', 'worker', 'encode'], 1 + place % 3), rand64() % 1000000000, 'ok',
              map('request_id', concat('video_', substring(id, 1, 24)),
                'model', arrayElement(['MOCHI1', 'LTX2', 'OPENSORA'], 1 + trace % 3), 'tier', 'standard'),
              concat('{{"step":', toString(place), ',"duration_ms":', toString(rand(1) / 1e6), '}}'),
              map('service.name', 'worker', 'service.instance.id', concat('generate-', toString(trace % 450))),
              'rushes', '0.1'
            FROM numbers({per})"""
        )


def _samples(store: ChdbStore, begin_s: int) -> None:
    """Half counters with random growth, half gauges with two random decimals; every 15 s with jitter."""
    store._statement(  # noqa: SLF001
        f"""
        INSERT INTO samples (metric, series_id, ts, value)
        WITH number % {_SERIES} AS of, intDiv(number, {_SERIES}) AS turn
        SELECT concat('metric_', toString(of % 40)), sipHash64(of),
          toDateTime64({begin_s}, 3, 'UTC') + toIntervalMillisecond(turn * 15000 + rand() % 20),
          if(of % 2 = 0, turn * 7 + rand(1) % 7, round(50 + 10 * sin(turn / 40 + of) + (rand(2) % 100) / 100, 2))
        FROM numbers({_SAMPLES}) SETTINGS max_insert_block_size = 4000000, min_insert_block_size_rows = 4000000"""
    )


def _size(store: ChdbStore, table: str) -> str:
    # As after some hours of operation: parts of a day are merged into few.
    store._statement(f"OPTIMIZE TABLE {table} FINAL SETTINGS max_execution_time = 0")  # noqa: SLF001
    held = [p for p in store.partitions() if p.table == table]
    return f"{sum(p.bytes for p in held) / sum(p.rows for p in held):.1f} bytes"


def _look_ups(store: ChdbStore) -> tuple[float, float]:
    """Median and 95th percentile, in milliseconds; each trace is another one, and looked up once."""
    ids = store.rows(
        f"SELECT lower(hex(sipHash128(toUInt64(number * 7919 % {_SPANS // _OF_A_TRACE})))) AS id "
        f"FROM numbers({_LOOK_UPS})"
    )
    traces, taken = Traces(store), []
    for row in ids:
        begun = time.perf_counter()
        text = json.dumps(traces.otlp_json(row["id"]))
        taken.append(1000 * (time.perf_counter() - begun))
        assert text.count('"spanId"') == _OF_A_TRACE
    return statistics.median(taken), sorted(taken)[int(_LOOK_UPS * 0.95)]


def _main(folder: Path) -> None:
    store = ChdbStore(folder / "store", max_query_s=600)
    begin_s = int(time.time()) // 86_400 * 86_400 - 86_400  # yesterday, whole
    _spans(store, begin_s)
    parts = sum(p.parts for p in store.partitions() if p.table == "spans")
    median, slow = _look_ups(store)
    load = os.getloadavg()[0]
    print(
        f"trace by id among {_SPANS // 10**6} million spans in {parts} parts, median (95th percentile); load of "
        f"the machine\t{median:.0f} ms ({slow:.0f}); {load:.1f}"
    )
    print(f"a span on disk, indexes included\t{_size(store, 'spans')}")
    _samples(store, begin_s)
    print(f"a sample on disk, indexes included\t{_size(store, 'samples')}")
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    print(f"RSS after that\t{resident / 1e6:.0f} MB")
    store.close()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
