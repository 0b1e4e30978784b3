"""worker_setup: the worker makes sure that the model is in memory."""

from __future__ import annotations

from opentelemetry.trace import Span

from rushes.sdk import tracing
from rushes.studio.render import Render

__all__ = ["run"]


def run(render: Render, span: Span) -> None:
    """Raises UnknownModel, WeightsMissing."""
    tools, model = render.tools, render.job.model
    span.set_attribute("worker_id", tools.worker_id)
    with tracing.span("model.load_check", {"model": model, "rushes.cache_hit": tools.shelf.holds(model)}):
        render.backend = tools.shelf.get(model)
