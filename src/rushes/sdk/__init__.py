"""What a process needs to emit the catalog's signals: providers, instruments, spans, log lines, `/metrics`."""

from __future__ import annotations

from rushes.sdk import instruments, logs, tracing
from rushes.sdk.metrics_server import serve_metrics
from rushes.sdk.policy import Undeclared, set_strict
from rushes.sdk.providers import Telemetry, configure, exposition, flush, shutdown
from rushes.sdk.redaction import shield

__all__ = [
    "Telemetry",
    "Undeclared",
    "configure",
    "exposition",
    "flush",
    "instruments",
    "logs",
    "serve_metrics",
    "set_strict",
    "shield",
    "shutdown",
    "tracing",
]
