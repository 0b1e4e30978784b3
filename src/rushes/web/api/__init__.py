"""The control room's HTTP API: Prometheus' own, Jaeger's, and traces, logs and videos beside them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute

from rushes.query import Readers
from rushes.web.api import jaeger, prometheus, tail, telemetry
from rushes.web.api.answers import MAX_CONCURRENT, Workers
from rushes.web.api.targets import ScrapeTarget
from rushes.web.live import Live

__all__ = ["ScrapeTarget", "routes"]


def routes(
    readers: Readers,
    *,
    version: str = "",
    live: Live | None = None,
    targets: Sequence[ScrapeTarget] = (),
) -> list[BaseRoute]:
    """All routes of the API, for a Starlette application.

    Args:
        readers: what is asked.
        version: this program's, for buildinfo.
        live: brings news of stored log records; without it there is no live tail.
        targets: what is scraped.
    """
    workers = Workers(MAX_CONCURRENT)
    return [
        *prometheus.routes(readers, workers, version=version, targets=targets),
        *([] if live is None else tail.routes(readers, live)),
        *telemetry.routes(readers, workers),
        *jaeger.routes(readers, workers),
    ]
