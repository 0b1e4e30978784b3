"""What a test sees of the telemetry that it caused."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rushes.sdk import Telemetry, exposition

__all__ = ["Recorded"]


@dataclass(frozen=True)
class Recorded:
    """What this process has emitted since the test began."""

    telemetry: Telemetry
    spans: InMemorySpanExporter
    logs: InMemoryLogRecordExporter

    def span(self, name: str) -> ReadableSpan:
        (found,) = (s for s in self.spans.get_finished_spans() if s.name == name)
        return found

    def metrics(self, name: str) -> dict[str, float]:
        """Sample lines of /metrics that begin with a name: labels as written, and value."""
        lines = exposition()[0].splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {series: float(value) for series, value in pairs if series.split("{")[0] == name}
