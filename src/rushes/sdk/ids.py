"""Trace and span ids that can be chosen, so that one process can promise a span's id and another write the span."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ChosenIds", "chosen"]

_next: ContextVar[tuple[int, int] | None] = ContextVar("rushes_next_span_ids", default=None)


@contextmanager
def chosen(trace_id: int, span_id: int) -> Iterator[None]:
    """The next root span started in this context gets these ids."""
    token = _next.set((trace_id, span_id))
    try:
        yield
    finally:
        _next.reset(token)


class ChosenIds(IdGenerator):
    """Ids as `chosen` gives them, else from the generator behind it."""

    def __init__(self, otherwise: IdGenerator | None = None) -> None:
        self._otherwise = otherwise or RandomIdGenerator()

    def generate_trace_id(self) -> int:
        """128 bits."""
        ids = _next.get()
        return ids[0] if ids else self._otherwise.generate_trace_id()

    def generate_span_id(self) -> int:
        """64 bits."""
        ids = _next.get()
        return ids[1] if ids else self._otherwise.generate_span_id()
