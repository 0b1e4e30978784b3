"""vae_decode and audio_generation: latents become frames and, for models with audio, sound."""

from __future__ import annotations

import time

from opentelemetry.trace import Span

from rushes.sdk import instruments
from rushes.studio.render import Render

__all__ = ["audio", "has_audio", "video"]


def video(render: Render, _span: Span) -> None:
    """The VAE's decoder."""
    backend, latents = render.backend, render.latents
    assert backend is not None, "worker_setup has run"  # noqa: S101 - the pipeline's order
    assert latents is not None, "dit_inference has run"  # noqa: S101 - likewise
    begun = time.perf_counter()
    render.frames = backend.decode(latents, render.request)
    seconds = time.perf_counter() - begun
    model = render.job.model
    instruments.vae_decode_duration_seconds.record(seconds, model=model)
    busy = (time.time_ns() - render.started_ns) / 1e9
    instruments.frames_per_second_generated.set(len(render.frames) / busy, model=model)


def has_audio(render: Render) -> bool:
    """Whether the model makes sound."""
    return render.backend is not None and render.backend.card.has_audio


def audio(render: Render, _span: Span) -> None:
    """The audio VAE's decoder and the vocoder."""
    backend, latents = render.backend, render.latents
    assert backend is not None, "worker_setup has run"  # noqa: S101 - the pipeline's order
    assert latents is not None, "dit_inference has run"  # noqa: S101 - likewise
    begun = time.perf_counter()
    render.sound = backend.audio(latents, render.request)
    instruments.audio_generation_duration_seconds.record(time.perf_counter() - begun, model=render.job.model)
