"""The pipeline call that is under way in this thread or task; what is wrapped asks here whom it measures for.

Two pipelines in one process, even if they share a network, so keep their measurements apart.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rushes.instrument.call import Call

__all__ = ["ACTIVE"]

ACTIVE: Final[ContextVar[Call | None]] = ContextVar("rushes_active_call", default=None)
