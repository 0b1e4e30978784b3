"""The control room's HTTP API: Prometheus' own, and traces, logs and videos beside it."""

from starlette.routing import BaseRoute

from rushes.query import Readers
from rushes.web.api import prometheus, telemetry

__all__ = ["routes"]


def routes(readers: Readers, *, version: str = "") -> list[BaseRoute]:
    """All routes of the API, for a Starlette application.

    Args:
        readers: what is asked.
        version: this program's, for buildinfo.
    """
    return [*prometheus.routes(readers, version=version), *telemetry.routes(readers)]
