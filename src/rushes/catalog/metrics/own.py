"""What Rushes measures of itself: prefixed `rushes_`, because the specification does not name it."""

from __future__ import annotations

from typing import Final

from rushes.catalog.model import Kind, Label, Metric

__all__ = ["OWN"]

_SECTION: Final = "Rushes itself"
_SIGNAL: Final = Label("signal", "the kind of telemetry", ("spans", "logs", "samples", "metrics"))

OWN: Final = (
    Metric(
        name="rushes_telemetry_dropped_total",
        kind=Kind.COUNTER,
        help="Telemetry that this process gave up, because its queue was full or no collector took it",
        section=_SECTION,
        labels=(_SIGNAL, Label("reason", "why it was dropped", ("queue_full", "export_failed"))),
        specified=False,
    ),
    Metric(
        name="rushes_telemetry_queued",
        kind=Kind.GAUGE,
        help="Telemetry that waits to be sent from this process",
        section=_SECTION,
        labels=(_SIGNAL,),
        specified=False,
    ),
    Metric(
        name="rushes_telemetry_rejected_total",
        kind=Kind.COUNTER,
        help="Measurements and log lines given up because the catalog does not declare their label or event",
        section=_SECTION,
        labels=(Label("name", "the metric or event, as the catalog has it, or unknown"),),
        specified=False,
    ),
    Metric(
        name="rushes_ingest_accepted_total",
        kind=Kind.COUNTER,
        help="Telemetry that the control room has stored",
        section=_SECTION,
        labels=(_SIGNAL,),
        specified=False,
    ),
    Metric(
        name="rushes_ingest_refused_total",
        kind=Kind.COUNTER,
        help="Telemetry that the control room has refused",
        section=_SECTION,
        labels=(Label("reason", "why it was refused"),),
        specified=False,
    ),
    Metric(
        name="rushes_cache_hit_ratio",
        kind=Kind.GAUGE,
        help="Share of the modules a diffusers cache watches that it answered for, in the last denoising loop",
        section=_SECTION,
        labels=(Label("model", "the model, as requests name it"),),
        specified=False,
        requires="a pipeline with a cache enabled",
    ),
)
