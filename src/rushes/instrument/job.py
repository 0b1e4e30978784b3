"""A service's own request as the root of what its pipelines do: `with rushes.job(request_id=..., tier=...)`.

A script has a root a pipeline call. A service has a request, which may call several pipelines and do more besides;
with a job it gets one trace, and the generation metrics by tier that only the service can know.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal

from opentelemetry import trace as otel

from rushes.catalog import FAILURE_REASONS, ROOT, TIERS, Reason, Tier
from rushes.instrument.writer import Writer
from rushes.sdk import instruments, tracing

__all__ = ["Job", "current_job", "job"]

_current: Final[ContextVar[Job | None]] = ContextVar("rushes_job", default=None)


class Job:
    """A request that is under way. `trace_id` (32 hex digits) finds its trace."""

    def __init__(self, request_id: str, span: otel.Span) -> None:
        self.request_id = request_id
        self.trace_id = f"{span.get_span_context().trace_id:032x}"
        self.resolution: str | None = None
        self._writers: list[Writer] = []

    def add(self, writer: Writer, resolution: str | None) -> None:
        """A pipeline's call within the job has ended."""
        self._writers.append(writer)
        self.resolution = resolution or self.resolution

    def attributed_ns(self) -> int | None:
        """Nanoseconds that stages account for; None while a GPU's times are not known."""
        if all(writer.done for writer in self._writers):
            return sum(writer.attributed_ns for writer in self._writers)
        return None


def current_job() -> Job | None:
    """The job that this thread or task is in."""
    return _current.get()


@contextmanager
def job(*, request_id: str, model: str, tier: Tier = "standard", **attributes: Any) -> Iterator[Job]:
    """The root span of a request, and its generation metrics.

    Args:
        request_id: the service's own id of the request.
        model: value of the label `model`.
        tier: realtime, premium, standard or free.
        attributes: more attributes of the root, as the catalog declares them (`seconds`, `steps`).

    Raises:
        ValueError: there is no such tier.
    """
    if tier not in TIERS:
        raise ValueError(f"no tier {tier!r}; there are {', '.join(TIERS)}")
    root = {
        "request_id": request_id,
        "model": model,
        "tier": tier,
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "rushes",
        "gen_ai.output.type": "video",
        "gen_ai.request.model": model,
        "gen_ai.response.id": request_id,
        **attributes,
    }
    instruments.video_generation_request_total.add(1, tier=tier, model=model)
    begun = time.perf_counter_ns()
    status: Literal["completed", "failed", "cancelled"] = "failed"
    with tracing.span(ROOT, root) as span:
        entered = Job(request_id, span)
        token = _current.set(entered)
        try:
            yield entered
            status = "completed"
            instruments.video_generation_success_total.add(1, tier=tier, model=model)
        except (tracing.Stopped, KeyboardInterrupt, GeneratorExit):
            status = "cancelled"
            raise
        except Exception as error:
            reason = _reason(error)
            span.set_attribute("error.type", reason)
            instruments.video_generation_failure_total.add(1, tier=tier, model=model, reason=reason)
            raise
        finally:
            _current.reset(token)
            taken = time.perf_counter_ns() - begun
            attributed = entered.attributed_ns()
            if attributed is not None:
                span.set_attribute("rushes.attributed_ratio", min(1.0, attributed / max(1, taken)))
            if entered.resolution:
                span.set_attribute("resolution", entered.resolution)
                instruments.video_generation_duration_seconds.record(
                    taken / 1e9, tier=tier, model=model, resolution=entered.resolution, status=status
                )


def _reason(error: Exception) -> Reason:
    """What the failure counts as. Torch is not imported for it: its errors are known by their class's name."""
    names = {cls.__name__ for cls in type(error).__mro__}
    reason: Reason = "internal"
    if isinstance(error, TimeoutError):
        reason = "timeout"
    elif "OutOfMemoryError" in names or isinstance(error, MemoryError):
        reason = "oom"
    elif "AcceleratorError" in names or (isinstance(error, RuntimeError) and "CUDA error" in str(error)):
        reason = "cuda_error"
    assert reason in FAILURE_REASONS  # noqa: S101 - a closed label
    return reason
