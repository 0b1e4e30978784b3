"""What metrics are of: a resource as Prometheus sees it, labels `job` and `instance` and the series `target_info`.

Prometheus' own OTLP receiver makes both alike: series carry what tells targets apart, `target_info` everything else
about them, to be joined on where it is asked for.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from rushes.ingest.attributes import as_text, split
from rushes.ingest.batch import Batch
from rushes.ingest.labels import labels
from rushes.ingest.stats import Reason

__all__ = ["Target"]

_INFO: Final = "target_info"
_IDENTIFYING: Final = frozenset({"service.name", "service.namespace", "service.instance.id"})
_STEP_MS: Final = 150_000  # half of how far back a query looks, so that one is always found
_MOST: Final = 100


class Target:
    """A resource of a request.

    Attributes:
        labels: `job` and `instance`, as far as the resource says.
    """

    def __init__(self, resource: Resource, batch: Batch) -> None:
        of = split(resource.attributes, batch.limits, batch.refusals).readable
        name, namespace, instance = (
            as_text(of.get(f"service.{which}")) for which in ("name", "namespace", "instance.id")
        )
        self.labels: dict[str, str] = {}
        if name:
            self.labels["job"] = f"{namespace}/{name}" if namespace else name
        if instance:
            self.labels["instance"] = instance
        self._about = {key: value for key, value in of.items() if key not in _IDENTIFYING}
        self._first_ms: int | None = None
        self._last_ms = 0

    def seen(self, first_ms: int, last_ms: int) -> None:
        """There are points of the target between these times."""
        self._first_ms = first_ms if self._first_ms is None else min(self._first_ms, first_ms)
        self._last_ms = max(self._last_ms, last_ms)

    def tell(self, batch: Batch) -> None:
        """Add `target_info` for the time in which there are points. It is nobody's point, so none is refused for it."""
        if self._first_ms is None or not self.labels or not self._about:
            return
        found = {k: v for k, v in labels(self._about).items() if not k.startswith("__")} | self.labels
        excess = max(0, len(found) - batch.limits.labels)
        for name in sorted(found.keys() - self.labels.keys(), reverse=True)[:excess]:
            batch.refusals.cut += 1
            del found[name]
        admitted = batch.series.admit(_INFO, found, batch.now_s)
        if isinstance(admitted, Reason):
            batch.refusals.cut += 1
            return
        number, _ = admitted
        batch.use(number, found)
        batch.describe(_INFO, "gauge", "Target metadata", "")
        for ts_ms in [*range(self._first_ms, self._last_ms, _STEP_MS)[-_MOST:], self._last_ms]:
            batch.sample(number, ts_ms, 1.0)
