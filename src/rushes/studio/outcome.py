"""A job's end, told once: the last log line, the metrics that count it and its cost, and the root span of its trace.

Whichever process ends a job calls this: the generate worker, the encode worker that blocks a prompt, the gateway
that cancels or finds a worker dead.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final, Literal, cast

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from rushes.catalog import Reason, Tier
from rushes.sdk import instruments, logs, tracing
from rushes.studio.cost import Bill, Book, Outcome, count, figures
from rushes.studio.jobs import NO_SEED, Job, JobState

__all__ = ["Ending", "attributed_ratio", "root_of", "tier_of"]

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


class Ending:
    """Tells the ends of jobs; one a process."""

    def __init__(self, engine: sa.Engine, *, credit_usd: float | None = None) -> None:
        """Args:
        engine: the jobs' database, where the attempts at them are.
        credit_usd: what a credit is sold for, where that is known.
        """
        self._book = Book(engine)
        self._credit_usd = credit_usd

    def completed(self, job: Job) -> None:
        """A delivered video."""
        seconds = job.num_frames / job.fps
        tier, credits_charged = tier_of(job), job.credits_charged or 0
        with tracing.under(root_of(job)):
            instruments.video_generation_success_total.add(1, tier=tier, model=job.model)
            instruments.video_seconds_generated_total.add(seconds, tier=tier, model=job.model)
            instruments.credits_consumed_total.add(credits_charged, tier=tier, model=job.model)
            bill = self._billed(job)
            if bill.usd is not None:
                instruments.rushes_cost_per_delivered_second_usd.record(
                    bill.usd / seconds, tier=tier, model=job.model
                )
            money = figures(bill)
            if self._credit_usd is not None:
                revenue = credits_charged * self._credit_usd
                money["rushes.revenue_usd"] = revenue
                instruments.revenue_per_generation_usd.record(revenue, tier=tier, model=job.model)
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
        _finish_root(job, money, error=None)

    def failed(self, job: Job) -> None:
        """A failed job, with the message and reason of its row."""
        reason = cast("Reason", job.failure_reason or "internal")
        with tracing.under(root_of(job)):
            instruments.video_generation_failure_total.add(
                1, tier=tier_of(job), model=job.model, reason=reason
            )
            if reason == "timeout":
                instruments.job_timeout_total.add(1, tier=tier_of(job), model=job.model)
            bill = self._billed(job)
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
        _finish_root(job, figures(bill), error=job.error_message or "failed")

    def cancelled(self, job: Job) -> None:
        """A job that its user cancelled: no failure."""
        with tracing.under(root_of(job)):
            instruments.job_cancellation_total.add(1, tier=tier_of(job), model=job.model)
            bill = self._billed(job)
            duration = _measure(job, "cancelled")
            _LOG.info(
                "generation.job.cancelled",
                request_id=job.id,
                model=job.model,
                tier=job.tier,
                duration_seconds=round(duration, 3),
            )
        _finish_root(job, figures(bill), error=None)

    def worked_on(self, job: Job) -> None:
        """What a worker did for a job that had ended already: it notices that with its next step."""
        self._billed(job)

    def _billed(self, job: Job) -> Bill:
        """Counts what the attempts took, as far as it is not counted yet; empty where the database doesn't say."""
        how: Outcome = "completed" if job.state is JobState.COMPLETED else "failed"
        if job.state is JobState.CANCELLED:
            how = "cancelled"
        elif job.failure_reason == "safety_block":
            how = "blocked"
        try:
            bill = Bill(self._book.take(job.id), how)
        except SQLAlchemyError as error:
            _LOG.error("log.message", error=f"what a video took is not counted: {type(error).__name__}")
            return Bill((), how)
        count(bill)
        return bill


def _ended_ns(job: Job) -> int:
    return job.finished_ns or time.time_ns()


def _measure(job: Job, status: Literal["completed", "failed", "cancelled"]) -> float:
    duration = (_ended_ns(job) - job.accepted_ns) / 1e9
    instruments.video_generation_duration_seconds.record(
        duration, tier=tier_of(job), model=job.model, resolution=job.resolution, status=status
    )
    instruments.job_age_seconds.record(duration, tier=tier_of(job), model=job.model)
    return duration


def _finish_root(job: Job, money: Mapping[str, float | int], *, error: str | None) -> None:
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
        **money,
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
