"""prompt_processing: the prompt is checked, then encoded, and its encoding kept for the render."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry.trace import Span

from rushes.catalog import Prompt, prompt_hash
from rushes.sdk import instruments, logs, shield, tracing
from rushes.studio.failure import SafetyBlocked
from rushes.studio.render import Render

__all__ = ["run"]

_LOG: Final = logs.get_logger("encode-worker")


def run(render: Render, span: Span) -> None:
    """Raises SafetyBlocked for a prompt that may not be rendered."""
    texts = render.tools.store.prompt(render.job.id)
    span.set_attribute("prompt_length", len(texts.text))
    # While the prompt is in this process in clear, nothing that leaves it may quote it.
    render.kept.enter_context(shield(Prompt(texts.text), Prompt(texts.negative)))
    _check(render, texts.text)
    render.raise_if_ended()
    if render.remote:
        return  # whoever makes the video encodes it
    backend = render.kept.enter_context(render.tools.shelf.use(render.job.model))
    encoded = backend.encode(texts.text, texts.negative)
    render.folder.mkdir(parents=True, exist_ok=True)
    encoded.save(render.encoded_path)


def _check(render: Render, text: str) -> None:
    job = render.job
    begun = time.perf_counter()
    with tracing.span("safety.pregen"):
        with tracing.span("blocklist.check"):
            verdict = render.tools.blocklist.check(text)
        instruments.safety_check_duration_ms.record(
            (time.perf_counter() - begun) * 1000, check_type="pregen", model=job.model
        )
    if verdict.blocked and verdict.category:
        instruments.pregen_safety_block_total.add(1, category=verdict.category, classifier="blocklist")
        _LOG.warning(
            "safety.pregen.blocked",
            request_id=job.id,
            model=job.model,
            tier=job.tier,
            category=verdict.category,
            classifier="blocklist",
            rule_id=verdict.rule_id,
            prompt_hash=prompt_hash(text, render.tools.hash_key),
        )
        raise SafetyBlocked(verdict.category)
