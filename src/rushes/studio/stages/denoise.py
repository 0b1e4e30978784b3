"""dit_inference: the denoising loop, from its beginning or from where a lost worker had saved it.

Its spans are `rushes.instrument`'s; here are its log lines, its checkpoints and its stopping.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span

from rushes.instrument import drain_waiting
from rushes.sdk import instruments, logs
from rushes.studio.checkpoints import Checkpoints
from rushes.studio.cost import Book
from rushes.studio.failure import Cancelled, EncodingLost
from rushes.studio.jobs import patiently
from rushes.studio.models import CheckpointError, Encoded, StepEvent
from rushes.studio.outcome import tier_of
from rushes.studio.render import Render

__all__ = ["run"]

_LOG: Final = logs.get_logger("dit-worker")


def run(render: Render, span: Span) -> None:
    """Raises EncodingLost (the encoded prompt is missing or damaged), Cancelled, TimeLimitExceeded, within a step."""
    job, backend = render.job, render.backend
    assert backend is not None, "worker_setup has run"  # noqa: S101 - the pipeline's order
    span.set_attributes({"model": job.model, "steps": job.steps, "resolution": job.resolution})
    try:
        encoded = Encoded.load(render.encoded_path)
    except CheckpointError as error:
        raise EncodingLost(str(error)) from error
    checkpoints = Checkpoints(render.folder, job_id=job.id, model=job.model)
    every = render.tools.checkpoint_every

    def stepped(event: StepEvent) -> None:
        _LOG.info(
            "generation.step.completed",
            request_id=job.id,
            model=job.model,
            step=event.index,
            total_steps=event.total,
            step_duration_ms=round(event.elapsed_ns / 1e6, 3),
        )
        if not patiently(lambda: render.tools.store.set_progress(job, event.index)):
            raise Cancelled(job.id)
        render.raise_if_overdue()
        if every and event.index % every == 0 and event.index < event.total:
            checkpoints.save(event)

    resume = None
    if job.recoveries or job.retries:
        resume = checkpoints.newest(backend.fingerprint(encoded, render.request))
        _tell_resumed(render, resume.step if resume else 0)
        Book(render.tools.store.engine).resumed(job.id, checkpoints.saved_ns(resume.step) if resume else None)
    if resume is not None:
        span.set_attribute("rushes.resumed_after", resume.step)
    try:
        render.latents = backend.denoise(encoded, render.request, stepped, resume=resume)
    finally:
        drain_waiting()  # while the stage's span is open


def _tell_resumed(render: Render, step: int) -> None:
    """What a recovery has cost and saved."""
    job = render.job
    tier, model = tier_of(job), job.model
    instruments.rushes_lost_steps_total.add(max(0, job.step - step), tier=tier, model=model)
    if step:
        instruments.checkpoint_recovery_count.add(1, tier=tier, model=model)
        instruments.rushes_recovered_steps_total.add(step, tier=tier, model=model)
        _LOG.info(
            "generation.job.resumed",
            request_id=job.id,
            model=model,
            tier=job.tier,
            step=step,
            total_steps=job.steps,
        )
