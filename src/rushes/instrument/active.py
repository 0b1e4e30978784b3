"""The pipeline call that is under way in this thread or task; what is wrapped asks here whom it measures for.

Two pipelines in one process, even if they share a network, so keep their measurements apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from rushes.sdk import tracing

if TYPE_CHECKING:
    from rushes.instrument.call import Call

__all__ = ["ACTIVE", "RESUMED", "UNMEASURED", "not_measured", "note_in_step", "resumed_after"]

ACTIVE: Final[ContextVar[Call | None]] = ContextVar("rushes_active_call", default=None)

UNMEASURED: Final[ContextVar[bool]] = ContextVar("rushes_unmeasured", default=False)


@contextmanager
def not_measured() -> Iterator[None]:
    """What is called in here is another pipeline's: nothing of it is measured, though it may share components."""
    token = UNMEASURED.set(True)
    try:
        yield
    finally:
        UNMEASURED.reset(token)


RESUMED: Final[ContextVar[int]] = ContextVar("rushes_resumed_after", default=0)


@contextmanager
def resumed_after(steps: int) -> Iterator[None]:
    """Pipelines called in here take up a loop: its first `steps` steps are passed through, and are not measured."""
    token = RESUMED.set(steps)
    try:
        yield
    finally:
        RESUMED.reset(token)


def note_in_step(name: str, start_ns: int, end_ns: int, attributes: dict[str, Any]) -> None:
    """A span of the caller's own work within the denoising step under way, as in `callback_on_step_end`.

    Without one it becomes a child of the current span. Times are Unix nanoseconds.
    """
    call = ACTIVE.get()
    if call is None or not call.note(name, start_ns, end_ns, attributes):
        tracing.record(name, start_ns, end_ns, attributes)
