"""The control room's HTTP API: Prometheus' own, and traces, logs and videos beside it."""

from starlette.routing import BaseRoute

from rushes.store.interface import Store
from rushes.web.api import prometheus, telemetry

__all__ = ["routes"]


def routes(store: Store, *, version: str = "") -> list[BaseRoute]:
    """All routes of the API, for a Starlette application; `version` is this program's, for buildinfo."""
    return [*prometheus.routes(store, version=version), *telemetry.routes(store)]
