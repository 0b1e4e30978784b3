"""Telemetry in: OTLP, Prometheus' remote write, scraping.

What is acknowledged is durable, what is refused is counted and said.
"""

from rushes.ingest.limits import Limits
from rushes.ingest.receiver import Receiver
from rushes.ingest.stats import IngestStats

__all__ = ["IngestStats", "Limits", "Receiver"]
