"""dit_inference: the denoising loop. Its spans are `rushes.instrument`'s; here are its log lines and its stopping."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span

from rushes.instrument import drain_waiting
from rushes.sdk import logs
from rushes.studio.failure import Cancelled
from rushes.studio.models.protocol import Encoded, StepEvent
from rushes.studio.render import Render

__all__ = ["run"]

_LOG: Final = logs.get_logger("dit-worker")


def run(render: Render, span: Span) -> None:
    """Raises CheckpointError when the encoded prompt is missing or damaged, Cancelled within one step."""
    job, backend = render.job, render.backend
    assert backend is not None, "worker_setup has run"  # noqa: S101 - the pipeline's order
    span.set_attributes({"model": job.model, "steps": job.steps, "resolution": job.resolution})

    def stepped(event: StepEvent) -> None:
        _LOG.info(
            "generation.step.completed",
            request_id=job.id,
            model=job.model,
            step=event.index,
            total_steps=event.total,
            step_duration_ms=round(event.elapsed_ns / 1e6, 3),
        )
        if not render.tools.store.set_progress(job.id, event.index):
            raise Cancelled(job.id)

    try:
        render.latents = backend.denoise(Encoded.load(render.encoded_path), render.request, stepped)
    finally:
        drain_waiting()  # while the stage's span is open
