"""Keeps the instrumentation's own mistakes out of the user's program."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from rushes.sdk.policy import is_strict

if TYPE_CHECKING:
    from rushes.instrument.call import Call

__all__ = ["Shielded"]


class Shielded:
    """A context whose failures cost the measurement, not the video; in strict mode (tests) they raise.

    Yields None where the context could not be entered. Exceptions of the block pass, as ever.
    """

    def __init__(self, context: AbstractContextManager[Call]) -> None:
        self._context: AbstractContextManager[Call] | None = context

    def __enter__(self) -> Call | None:
        assert self._context is not None, "entered once"  # noqa: S101
        try:
            return self._context.__enter__()
        except Exception:
            if is_strict():
                raise
            self._context = None
            return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._context is None:
            return
        try:
            self._context.__exit__(kind, error, trace)
        except Exception:
            if is_strict():
                raise
