"""Memory of the control room: idle, under bursts of telemetry with the pages open beside them, and after.

Each burst is 37,888 spans, 16,384 log records and 120,000 samples of 25,000 series; then four readers ask at once for
dashboards, traces and logs. The system's own figure is told: what it would have to find if nothing were given back.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import httpx

from benchmarks.ingest import PROTOBUF, logs, points, scrape, spans
from benchmarks.servers import rushes_server

__all__ = ["measure"]

_BURSTS: Final = 6
_READERS: Final = 4
_SETTLED_S: Final = 45  # longer than from one look of the store's upkeep to the next
_QUERIES: Final = (
    "sum by (model) (rate(otlp_metric_1[5m]))",
    "avg(gpu_metric_1)",
    "sum by (instance) (gpu_metric_2)",
    "topk(5, max_over_time(gpu_metric_3[5m]))",
)
_PAGES: Final = ("/api/traces?limit=50", "/api/logs?limit=100", "/")


def measure() -> list[tuple[str, str]]:
    """Megabytes."""
    bodies = {
        "traces": [*(spans(8192) for _ in range(4)), *(spans(512) for _ in range(10))],
        "logs": [logs(8192) for _ in range(2)],
        "metrics": [points(5000, at) for at in range(20)],
    }
    scrapes = [scrape(number) for number in range(_BURSTS)]
    with rushes_server() as server, httpx.Client(headers=PROTOBUF, timeout=60) as client:
        time.sleep(_SETTLED_S)
        idle, during = server.rss_mb(), list[float]()
        for requests_of_scrape in scrapes:
            for signal, requests in bodies.items():
                for body in requests:
                    client.post(f"{server.urls['otlp']}/v1/{signal}", content=body).raise_for_status()
            for body in requests_of_scrape:
                snappy = {"content-encoding": "snappy"}
                client.post(
                    f"{server.urls['ui']}/api/v1/write", content=body, headers=snappy
                ).raise_for_status()
            readers = [threading.Thread(target=_read, args=(server.urls["ui"],)) for _ in range(_READERS)]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
            during.append(server.rss_mb())
        time.sleep(_SETTLED_S)
        after = server.rss_mb()
    return [
        ("RSS of the control room, idle", f"{idle:.0f} MB"),
        (f"after each of {_BURSTS} bursts, the most", f"{max(during):.0f} MB"),
        (f"{_SETTLED_S} s after the last", f"{after:.0f} MB"),
    ]


def _read(ui: str) -> None:
    now = time.time()
    with httpx.Client(base_url=ui, timeout=60) as client:
        for query in _QUERIES:
            asked = {"query": query, "start": str(now - 1800), "end": str(now), "step": "15"}
            client.get("/api/v1/query_range", params=asked).raise_for_status()
        for page in _PAGES:
            client.get(page, follow_redirects=True).raise_for_status()
