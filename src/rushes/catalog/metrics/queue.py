"""Queue metrics for long-running jobs: the specification's second table."""

from __future__ import annotations

from typing import Final

from rushes.catalog.labels import MODEL, TIER
from rushes.catalog.model import Kind, Label, Metric

__all__ = ["QUEUE"]

_SECTION: Final = "Queue"

QUEUE: Final = (
    Metric(
        name="queue_depth_total",
        kind=Kind.GAUGE,
        help="Number of jobs in queue",
        section=_SECTION,
        labels=(TIER, MODEL, Label("status", "how far the job is", ("waiting", "assigned", "generating"))),
        target=">500 (P1)",
    ),
    Metric(
        name="queue_wait_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="Time spent waiting in queue before GPU assignment",
        section=_SECTION,
        labels=(TIER,),
        unit="s",
        buckets=(5, 10, 30, 60, 120, 300, 600, 1800),
        target=">5min (standard)",
    ),
    Metric(
        name="job_age_seconds",
        kind=Kind.HISTOGRAM,
        help="Total job lifetime, from acceptance to its end, however it ended",
        section=_SECTION,
        labels=(TIER, MODEL),
        unit="s",
        buckets=(1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
        target=">10min (standard)",
    ),
    Metric(
        name="checkpoint_save_duration_ms",
        kind=Kind.HISTOGRAM,
        help="Checkpoint write time",
        section=_SECTION,
        labels=(MODEL,),
        unit="ms",
        buckets=(50, 100, 250, 500, 1000, 2500, 5000, 10000),
        target=">5000ms",
        requires="a loop longer than RUSHES_CHECKPOINT_EVERY",
    ),
    Metric(
        name="checkpoint_recovery_count",
        kind=Kind.COUNTER,
        help="Jobs recovered from checkpoint",
        section=_SECTION,
        labels=(TIER, MODEL),
        target="Rate <1%",
        requires="a worker that was lost",
    ),
    Metric(
        name="job_cancellation_total",
        kind=Kind.COUNTER,
        help="User-cancelled jobs",
        section=_SECTION,
        labels=(TIER, MODEL),
        target="Monitor trend",
    ),
    Metric(
        name="job_timeout_total",
        kind=Kind.COUNTER,
        help="Jobs exceeding time limit",
        section=_SECTION,
        labels=(TIER, MODEL),
        target="Rate <0.1%",
        requires="a job that ran into its tier's time limit",
    ),
)
