"""dit_inference: the denoising loop, with a span, a log line and a measurement a step."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span

from rushes.sdk import instruments, logs, tracing
from rushes.studio.failure import Cancelled
from rushes.studio.models.protocol import Encoded, StepEvent
from rushes.studio.render import Render

__all__ = ["run"]

_LOG: Final = logs.get_logger("dit-worker")


class _Watcher:
    """Turns what the model reports into spans, log lines and metrics, and stops a cancelled job."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._loop: Span | None = None
        self._reached_ns = 0

    def noise_initialized(self, started_ns: int, ended_ns: int) -> None:
        tracing.record("noise.initialize", started_ns, ended_ns)

    def loop_started(self, ns: int) -> None:
        self._loop = tracing.open_span("denoising_loop", ns)
        self._reached_ns = ns

    def step(self, event: StepEvent) -> None:
        job = self._render.job
        milliseconds = (event.ended_ns - event.started_ns) / 1e6
        self._reached_ns = event.ended_ns
        step = tracing.record(
            f"step_{event.index}",
            event.started_ns,
            event.ended_ns,
            {"step": event.index, "step_duration_ms": milliseconds},
            parent=self._loop,
        )
        with tracing.under(step):
            instruments.dit_inference_step_duration_ms.record(
                milliseconds, model=job.model, step_type="total"
            )
            _LOG.info(
                "generation.step.completed",
                request_id=job.id,
                model=job.model,
                step=event.index,
                total_steps=event.total,
                step_duration_ms=round(milliseconds, 3),
            )
        if not self._render.tools.store.set_progress(job.id, event.index):
            raise Cancelled(job.id)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.end(self._reached_ns)


def run(render: Render, span: Span) -> None:
    """Raises CheckpointError when the encoded prompt is missing or damaged, Cancelled within one step."""
    job, backend = render.job, render.backend
    assert backend is not None, "worker_setup has run"  # noqa: S101 - the pipeline's order
    span.set_attributes(
        {"model": job.model, "steps": job.steps, "resolution": job.resolution, "rushes.clock": backend.clock}
    )
    encoded = Encoded.load(render.encoded_path)
    watcher = _Watcher(render)
    try:
        render.latents = backend.denoise(encoded, render.request, watcher)
    finally:
        watcher.close()
