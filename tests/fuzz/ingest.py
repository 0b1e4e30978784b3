"""Throws bytes at everything that ingest decodes, guided by coverage. Not part of the test suite.

`pip install atheris`, then `python tests/fuzz/ingest.py -max_total_time=300 -rss_limit_mb=2048 CORPUS_FOLDER`. The
first byte says who gets the rest. Whatever isn't refused in the words that ingest has for it is a finding.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import atheris

sys.path.append(str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["rushes.ingest"]):
    from rushes.ingest import Limits, Receiver
    from rushes.ingest.exposition import ExpositionError, exposition, labels_of
    from rushes.ingest.inflate import inflated, unsnapped, zstd
    from rushes.ingest.limits import BodyTooLarge, UndecodableBody
    from rushes.ingest.otlp_json import parse_json
    from rushes.ingest.remote_write import take_request, take_write_request

import pyarrow as pa

from otlp_messages import logs_request, metrics_request, trace_request
from remote_write_messages import Symbols, field, histogram, series1, series2, snapped
from telemetry_store import NOW_NS

REFUSED = (UndecodableBody, BodyTooLarge, ExpositionError)
LIMITS = Limits(body_bytes=1 << 20, series_per_metric=100, series=1000)


class Nowhere:
    """A store that checks what it is given and keeps nothing."""

    retention_s = 10**9

    def insert(self, _: str, rows: Any) -> None:
        rows.validate(full=True)

    def query(self, *_: Any, **__: Any) -> Any:
        names = {"metric": pa.array([], pa.string()), "series_id": pa.array([]), "seen": pa.array([])}
        return pa.table(names)


STORE: Any = Nowhere()
RECEIVER = Receiver(STORE, clock_ns=lambda: NOW_NS, limits=LIMITS)
LOOP = asyncio.new_event_loop()


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _text(body: bytes, *, openmetrics: bool) -> None:
    for series in exposition(body.decode(errors="replace"), openmetrics=openmetrics).series:
        labels_of(series)


TARGETS: tuple[Callable[[bytes], Any], ...] = (
    lambda body: LOOP.run_until_complete(RECEIVER.receive("traces", body)),
    lambda body: LOOP.run_until_complete(RECEIVER.receive("logs", body)),
    lambda body: LOOP.run_until_complete(RECEIVER.receive("metrics", body)),
    lambda body: _write(body, take_write_request),
    lambda body: _write(body, take_request),
    lambda body: LOOP.run_until_complete(RECEIVER.receive("metrics", body, parse_json)),
    lambda body: _text(body, openmetrics=False),
    lambda body: _text(body, openmetrics=True),
    lambda body: unsnapped(body, 1 << 20),
    lambda body: LOOP.run_until_complete(inflated(_one(body), encoding="zstd", limit=1 << 20)),
    lambda body: LOOP.run_until_complete(inflated(_one(body), encoding="gzip", limit=1 << 20)),
)


def _write(body: bytes, take: Any) -> None:
    LOOP.run_until_complete(RECEIVER.write("remote_write", body, lambda b, clock: take(body, b, clock)))


def one_input(data: bytes) -> None:
    """Give the bytes to what the first of them names."""
    with contextlib.suppress(*REFUSED):
        TARGETS[(data[0] if data else 0) % len(TARGETS)](data[1:])


def _seeds(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    symbols = Symbols()
    second = series2(symbols, {"__name__": "a"}, [(1.0, 1)], field(3, histogram(1)))
    bodies = [
        trace_request(attributes={"a": "b", "n": 1, "l": [1, {"x": 2.5}]}).SerializeToString(),
        logs_request(attributes={"event": "e", "n": 1.5}).SerializeToString(),
        metrics_request().SerializeToString(),
        series1({"__name__": "a"}, [(1.0, 1)], field(4, histogram(1))),
        symbols.request(second),
        b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{"asInt":"1"}]}}]}]}]}',
        b'# TYPE a counter\na_total{b="c"} 1 # {d="e"} 2 3\n# EOF\n',
        b'# TYPE a gauge\na{b="c\\n"} NaN 5\n# EOF\n',
        snapped(bytes(1000)),
        zstd.compress(bytes(1000)),
        gzip.compress(bytes(1000)),
    ]
    for number, body in enumerate(bodies):
        (folder / f"seed-{number}").write_bytes(bytes([number]) + body)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            _seeds(Path(argument))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
