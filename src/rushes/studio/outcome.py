"""A job's end, told once: the last log line, the metrics that count it, and the root span of its trace.

Whichever process ends a job calls this: the generate worker, the encode worker that blocks a prompt, the gateway
that cancels or finds a worker dead.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, Literal, cast

from rushes.catalog import Reason, Tier
from rushes.sdk import instruments, logs, tracing
from rushes.studio.jobs import NO_SEED, Job, JobState

__all__ = ["attributed_ratio", "finish_cancelled", "finish_completed", "finish_failed", "root_of", "tier_of"]

_LOG: Final = logs.get_logger("scheduler")


def root_of(job: Job) -> tracing.Root:
    """The job's open root span."""
    return tracing.Root(job.trace_id, job.root_span_id, job.accepted_ns, job.parent_span_id)


def tier_of(job: Job) -> Tier:
    """The job's tier, as metrics label it. Keys have declared tiers only."""
    return cast("Tier", job.tier)


def attributed_ratio(stages: Iterable[tuple[str, int, int]], start_ns: int, end_ns: int) -> float:
    """The share of [start, end] that is covered by at least one stage, 0 to 1."""
    covered = 0
    reached = start_ns
    for _, stage_start, stage_end in sorted(stages, key=lambda stage: stage[1]):
        begun, ended = max(stage_start, reached), min(stage_end, end_ns)
        if ended > begun:
            covered += ended - begun
            reached = ended
    return covered / (end_ns - start_ns) if end_ns > start_ns else 1.0


def finish_completed(job: Job) -> None:
    """A delivered video."""
    seconds = job.num_frames / job.fps
    with tracing.under(root_of(job)):
        instruments.video_generation_success_total.add(1, tier=tier_of(job), model=job.model)
        instruments.video_seconds_generated_total.add(seconds, tier=tier_of(job), model=job.model)
        instruments.credits_consumed_total.add(job.credits_charged or 0, tier=tier_of(job), model=job.model)
        duration = _measure(job, "completed")
        _LOG.info(
            "generation.job.completed",
            request_id=job.id,
            model=job.model,
            tier=job.tier,
            media=job.media,
            size_bytes=job.size_bytes,
            duration_seconds=round(duration, 3),
        )
    _finish_root(job, error=None)


def finish_failed(job: Job) -> None:
    """A failed job, with the message and reason of its row."""
    with tracing.under(root_of(job)):
        instruments.video_generation_failure_total.add(
            1, tier=tier_of(job), model=job.model, reason=cast("Reason", job.failure_reason or "internal")
        )
        duration = _measure(job, "failed")
        _LOG.error(
            "generation.job.failed",
            request_id=job.id,
            model=job.model,
            tier=job.tier,
            reason=job.failure_reason,
            code=job.error_code,
            error=job.error_message,
            duration_seconds=round(duration, 3),
        )
    _finish_root(job, error=job.error_message or "failed")


def finish_cancelled(job: Job) -> None:
    """A job that its user cancelled: no failure."""
    with tracing.under(root_of(job)):
        instruments.job_cancellation_total.add(1, tier=tier_of(job), model=job.model)
        duration = _measure(job, "cancelled")
        _LOG.info(
            "generation.job.cancelled",
            request_id=job.id,
            model=job.model,
            tier=job.tier,
            duration_seconds=round(duration, 3),
        )
    _finish_root(job, error=None)


def _ended_ns(job: Job) -> int:
    return job.finished_ns or time.time_ns()


def _measure(job: Job, status: Literal["completed", "failed", "cancelled"]) -> float:
    duration = (_ended_ns(job) - job.accepted_ns) / 1e9
    instruments.video_generation_duration_seconds.record(
        duration, tier=tier_of(job), model=job.model, resolution=job.resolution, status=status
    )
    instruments.job_age_seconds.record(duration, tier=tier_of(job), model=job.model)
    return duration


def _finish_root(job: Job, *, error: str | None) -> None:
    end_ns = _ended_ns(job)
    attributes: dict[str, tracing.AttributeValue] = {
        "request_id": job.id,
        "tier": job.tier,
        "model": job.model,
        "resolution": job.resolution,
        "seconds": job.seconds,
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "rushes",
        "gen_ai.output.type": "video",
        "gen_ai.request.model": job.model,
        "gen_ai.response.id": job.id,
    }
    if job.steps:
        attributes["steps"] = job.steps
    if job.seed != NO_SEED:
        attributes["gen_ai.request.seed"] = job.seed
    if job.state is not JobState.CANCELLED:  # its last stage ends after this, in the worker
        attributes["rushes.attributed_ratio"] = round(
            attributed_ratio(job.stages, job.accepted_ns, end_ns), 4
        )
    if job.media and job.state is JobState.COMPLETED:
        attributes["rushes.media"] = job.media
    if job.state is JobState.FAILED:
        attributes["error.type"] = job.failure_reason or "internal"
    tracing.finish_root(root_of(job), attributes, error=error, end_ns=end_ns)
