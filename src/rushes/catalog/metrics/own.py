"""What Rushes measures of itself: prefixed `rushes_`, because the specification does not name it."""

from __future__ import annotations

from typing import Final

from rushes.catalog.labels import MODEL, TIER
from rushes.catalog.model import Kind, Label, Metric

__all__ = ["OWN"]

_SECTION: Final = "Rushes itself"
_API: Final = Label(
    "api",
    "what was asked",
    (
        "query",
        "query_range",
        "query_exemplars",
        "format_query",
        "series",
        "labels",
        "label_values",
        "metadata",
        "rules",
        "alerts",
        "status",
        "traces",
        "trace",
        "logs",
        "log_tail",
        "videos",
        "jaeger",
    ),
)
_OUTCOME: Final = Label(
    "outcome",
    "ok, or the kind of error, in the words of Prometheus' API",
    ("ok", "bad_data", "execution", "timeout", "canceled", "not_found", "unavailable", "internal"),
)
_SIGNAL: Final = Label("signal", "the kind of telemetry", ("spans", "logs", "samples", "metrics"))
_STORED: Final = Label("signal", "the kind of rows", ("spans", "logs", "samples", "histograms", "exemplars"))
_TABLE: Final = Label(
    "table",
    "a table of the store",
    ("samples", "histograms", "series", "metrics", "exemplars", "spans", "logs"),
)
_SOURCE: Final = Label(
    "source", "how telemetry came in", ("traces", "logs", "metrics", "remote_write", "scrape")
)

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
        labels=(_STORED,),
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
        name="rushes_ingest_bytes_total",
        kind=Kind.COUNTER,
        help="Size of the requests that the control room has stored, inflated",
        section=_SECTION,
        labels=(_SOURCE,),
        unit="By",
        specified=False,
    ),
    Metric(
        name="rushes_ingest_cut_total",
        kind=Kind.COUNTER,
        help="Attribute and label values that the control room has shortened or dropped",
        section=_SECTION,
        specified=False,
    ),
    Metric(
        name="rushes_ingest_series",
        kind=Kind.GAUGE,
        help="Series that have had a sample lately, which the limits count",
        section=_SECTION,
        specified=False,
    ),
    Metric(
        name="rushes_ingest_held_bytes",
        kind=Kind.GAUGE,
        help="Bytes of requests that are in the control room's memory now",
        section=_SECTION,
        unit="By",
        specified=False,
    ),
    Metric(
        name="rushes_store_rows",
        kind=Kind.GAUGE,
        help="Rows in the store",
        section=_SECTION,
        labels=(_TABLE,),
        specified=False,
    ),
    Metric(
        name="rushes_store_bytes",
        kind=Kind.GAUGE,
        help="Disk space of the store's rows, compressed, indexes included",
        section=_SECTION,
        labels=(_TABLE,),
        unit="By",
        specified=False,
    ),
    Metric(
        name="rushes_store_parts",
        kind=Kind.GAUGE,
        help="Folders of files that the store's rows are in; many small ones mean that merging lags behind",
        section=_SECTION,
        labels=(_TABLE,),
        specified=False,
    ),
    Metric(
        name="rushes_store_dropped_rows_total",
        kind=Kind.COUNTER,
        help="Rows dropped because the store had grown larger than it may",
        section=_SECTION,
        labels=(_TABLE,),
        specified=False,
    ),
    Metric(
        name="rushes_store_dropped_bytes_total",
        kind=Kind.COUNTER,
        help="Disk space freed because the store had grown larger than it may",
        section=_SECTION,
        labels=(_TABLE,),
        unit="By",
        specified=False,
    ),
    Metric(
        name="rushes_store_memory_bytes",
        kind=Kind.GAUGE,
        help="Memory that the store's engine has allocated, by its own count",
        section=_SECTION,
        unit="By",
        specified=False,
    ),
    Metric(
        name="rushes_store_disk_free_bytes",
        kind=Kind.GAUGE,
        help="Space left on the store's disk",
        section=_SECTION,
        unit="By",
        specified=False,
    ),
    Metric(
        name="rushes_server_memory_bytes",
        kind=Kind.GAUGE,
        help="Resident memory of the control room's process",
        section=_SECTION,
        unit="By",
        specified=False,
    ),
    Metric(
        name="rushes_query_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="Time that the control room took to answer a question of its HTTP APIs, waiting included",
        section=_SECTION,
        labels=(_API, _OUTCOME),
        unit="s",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
        specified=False,
    ),
    Metric(
        name="rushes_recovery_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="From a worker's last sign of life on a job to another worker's start on it",
        section=_SECTION,
        labels=(TIER, MODEL),
        unit="s",
        buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900),
        specified=False,
        requires="a worker that was lost",
    ),
    Metric(
        name="rushes_recovered_steps_total",
        kind=Kind.COUNTER,
        help="Denoising steps that a lost worker's checkpoints saved from being done again",
        section=_SECTION,
        labels=(TIER, MODEL),
        requires="a worker that was lost",
        specified=False,
    ),
    Metric(
        name="rushes_lost_steps_total",
        kind=Kind.COUNTER,
        help="Denoising steps that a lost worker had done, and that had to be done again",
        section=_SECTION,
        labels=(TIER, MODEL),
        requires="a worker that was lost",
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
    Metric(
        name="rushes_webhook_deliveries_total",
        kind=Kind.COUNTER,
        help="Attempts to deliver a webhook: delivered, failed (it is sent again), or given up after the last",
        section=_SECTION,
        labels=(Label("outcome", "what came of it", ("delivered", "failed", "given_up")),),
        specified=False,
        requires="a key with a webhook",
    ),
)
