"""Ingest: spans, log records and samples that a second of the server's CPU takes, over HTTP, fsync and merges included.

The server is `rushes server` in a process of its own; what is counted is its processor time, from the first request
until it is idle again. Prometheus takes the same remote-write requests in the same run.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Final

import httpx
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from benchmarks.servers import Server, prometheus, rushes_server

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from prometheus_peer import PROMETHEUS
from remote_write_messages import series1, snapped

__all__ = ["PROTOBUF", "logs", "measure", "points", "scrape", "spans"]

_SERIES: Final = 20_000
_SCRAPES: Final = 15
_PER_REQUEST: Final = 2000
_SPANS: Final = ((512, 60), (8192, 8))  # an SDK's batch, a collector's: how large, how many
PROTOBUF: Final = {"content-type": "application/x-protobuf"}
_RANDOM: Final = random.Random(1)  # noqa: S311 - not for secrets


def measure() -> list[tuple[str, str]]:
    """The figures."""
    rows: list[tuple[str, str]] = []
    scrapes = [scrape(number) for number in range(_SCRAPES)]
    n = _SERIES * _SCRAPES
    with rushes_server() as rushes:
        for size, count in _SPANS:
            bodies = [spans(size) for _ in range(count)]
            rows.append(_row(f"spans, OTLP, batches of {size}", size * count, rushes, "traces", bodies))
        for size, count in _SPANS:
            bodies = [logs(size) for _ in range(count)]
            rows.append(_row(f"log records, OTLP, batches of {size}", size * count, rushes, "logs", bodies))
        bodies = [points(5000, at) for at in range(40)]
        rows.append(_row("samples, OTLP counters, batches of 5000", 5000 * 40, rushes, "metrics", bodies))
        rows.append(_samples("samples, remote write, Rushes", n, rushes, scrapes))
    if PROMETHEUS is not None:
        with prometheus() as peer:
            rows.append(_samples("samples, remote write, Prometheus", n, peer, scrapes))
    return rows


def _row(what: str, n: int, server: Server, signal_: str, bodies: list[bytes]) -> tuple[str, str]:
    with httpx.Client(headers=PROTOBUF, timeout=60) as client:

        def send() -> None:
            for body in bodies:
                client.post(f"{server.urls['otlp']}/v1/{signal_}", content=body).raise_for_status()

        return what, _figure(n, server.costs(send))


def _samples(what: str, n: int, server: Server, scrapes: list[list[bytes]]) -> tuple[str, str]:
    headers = {
        **PROTOBUF,
        "content-encoding": "snappy",
        "x-prometheus-remote-write-version": "0.1.0",
    }
    with httpx.Client(headers=headers, timeout=60) as client:

        def send() -> None:
            for bodies in scrapes:
                for body in bodies:
                    client.post(f"{server.urls['ui']}/api/v1/write", content=body).raise_for_status()

        cpu, wall = server.costs(send)
    return what, f"{_figure(n, (cpu, wall))}; {server.rss_mb():.0f} MB resident"


def _figure(n: int, cost: tuple[float, float]) -> str:
    cpu, wall = cost
    return f"{n / cpu:,.0f} a CPU-second ({cpu / n * 1e6:.1f} µs each; {n / wall:,.0f} a second, one client)"


_NOW_MS: Final = int(time.time() * 1000) - 300_000


def scrape(number: int) -> list[bytes]:
    """The remote-write requests of one scrape of all series."""
    ts = _NOW_MS + number * 15_000
    series = [
        series1(
            {
                "__name__": f"gpu_metric_{of % 50}",
                "instance": f"worker-{of // 50}:9400",
                "job": "gpu",
                "model": "MOCHI1",
                "worker_id": f"gpu-{of // 50}",
            },
            [(_RANDOM.random() * 100, ts)],
        )
        for of in range(_SERIES)
    ]
    return [
        snapped(b"".join(series[start : start + _PER_REQUEST])) for start in range(0, _SERIES, _PER_REQUEST)
    ]


def _attributes(**of: str | float | bool) -> list[KeyValue]:
    found = []
    for key, value in of.items():
        kind = {bool: "bool_value", int: "int_value", float: "double_value"}.get(type(value), "string_value")
        found.append(KeyValue(key=key, value=AnyValue(**{kind: value})))  # type: ignore[arg-type]
    return found


def spans(size: int) -> bytes:
    """An OTLP request of spans."""
    request = ExportTraceServiceRequest()
    of = request.resource_spans.add()
    of.resource.attributes.extend(_attributes(**{"service.name": "studio", "service.instance.id": "w1"}))
    all_spans = of.scope_spans.add().spans
    now = time.time_ns()
    for number in range(size):
        all_spans.add(
            trace_id=_RANDOM.randbytes(16),
            span_id=_RANDOM.randbytes(8),
            parent_span_id=_RANDOM.randbytes(8),
            name=f"dit.step_{number % 30}",
            kind=1,
            start_time_unix_nano=now - _RANDOM.randrange(10**9),
            end_time_unix_nano=now,
            attributes=_attributes(
                model="MOCHI1",
                tier="standard",
                request_id=_RANDOM.randbytes(16).hex(),
                device=f"cuda:{number % 8}",
                worker_id=f"gpu-{number % 64}",
                step=number,
                loss=_RANDOM.random(),
                cached=number % 2 == 0,
            ),
        )
    return request.SerializeToString()


def logs(size: int) -> bytes:
    """An OTLP request of log records."""
    request = ExportLogsServiceRequest()
    of = request.resource_logs.add()
    of.resource.attributes.extend(_attributes(**{"service.name": "studio", "service.instance.id": "w1"}))
    records = of.scope_logs.add().log_records
    for number in range(size):
        records.add(
            time_unix_nano=time.time_ns(),
            severity_number=9,
            severity_text="INFO",
            trace_id=_RANDOM.randbytes(16),
            span_id=_RANDOM.randbytes(8),
            body=AnyValue(string_value="a step of the denoising loop ended"),
            attributes=_attributes(
                event="generation.step.completed",
                component="dit-worker",
                worker_id=f"gpu-{number % 64}",
                request_id=_RANDOM.randbytes(16).hex(),
                step=number,
                step_duration_ms=_RANDOM.random(),
                model="MOCHI1",
            ),
        )
    return request.SerializeToString()


def points(size: int, at: int) -> bytes:
    """An OTLP request of cumulative sums, at so many seconds after the first."""
    request = ExportMetricsServiceRequest()
    of = request.resource_metrics.add()
    of.resource.attributes.extend(_attributes(**{"service.name": "studio", "service.instance.id": "w1"}))
    metrics = of.scope_metrics.add().metrics
    for metric in range(10):
        data = metrics.add(name=f"otlp_metric_{metric}").sum
        data.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        for number in range(size // 10):
            data.data_points.add(
                as_double=_RANDOM.random(),
                time_unix_nano=(_NOW_MS + at * 1000) * 1_000_000,
                attributes=_attributes(model="MOCHI1", tier="standard", worker_id=f"gpu-{number}"),
            )
    return request.SerializeToString()


if __name__ == "__main__":
    for what, figure in measure():
        print(f"{what}: {figure}")
