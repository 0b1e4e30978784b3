"""Every signal, declared once as data: metrics, spans, log events, and what must never be logged.

The leaf of the package: it imports nothing else of rushes. Instruments, `/metrics`, docs/reference, and later
dashboards, rules and runbook links are made from it.
"""

from __future__ import annotations

from rushes.catalog.events import EVENTS
from rushes.catalog.labels import FAILURE_REASONS, MODELS, TIERS, WORKER_STATES, Reason, Tier
from rushes.catalog.metrics import METRICS
from rushes.catalog.model import Attribute, Kind, Label, Level, LogEvent, Metric, Span, Status
from rushes.catalog.sensitive import NEVER_LOGGED, Biometric, Content, Prompt, Secret, Sensitive, prompt_hash
from rushes.catalog.spans import ROOT, SPANS, STAGES, declared_span

__all__ = [
    "EVENTS",
    "FAILURE_REASONS",
    "METRICS",
    "MODELS",
    "NEVER_LOGGED",
    "ROOT",
    "SPANS",
    "STAGES",
    "TIERS",
    "WORKER_STATES",
    "Attribute",
    "Biometric",
    "Content",
    "Kind",
    "Label",
    "Level",
    "LogEvent",
    "Metric",
    "Prompt",
    "Reason",
    "Secret",
    "Sensitive",
    "Span",
    "Status",
    "Tier",
    "declared_span",
    "prompt_hash",
]
