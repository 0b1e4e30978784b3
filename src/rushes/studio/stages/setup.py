"""worker_setup: the worker makes sure that the model is in memory, and what the video begins with."""

from __future__ import annotations

from opentelemetry.trace import Span

from rushes.sdk import tracing
from rushes.studio.models import Picture
from rushes.studio.render import Render

__all__ = ["run"]


def run(render: Render, span: Span) -> None:
    """Raises UnknownModel, WeightsMissing, PromptUnreadableError."""
    tools, model = render.tools, render.job.model
    span.set_attribute("worker_id", tools.worker_id)
    with tracing.span("model.load_check", {"model": model, "rushes.cache_hit": tools.shelf.holds(model)}):
        backend = render.kept.enter_context(tools.shelf.use(model))
    if render.job.careful:
        render.kept.enter_context(backend.sparing())
        span.set_attribute("rushes.careful", True)
    render.backend = backend
    png = tools.store.picture(render.job.id)
    render.picture = None if png is None else Picture.of(png)
