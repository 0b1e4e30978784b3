"""Asking a database again that refuses for a moment: it may be locked, or its disk full, and be well again at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

DATABASE_AWAY: Final = (OperationalError, InterfaceError, NoConnectionFree)
"""What is raised while the database can't be reached, is starting, or is locked: nobody's fault who asks."""

_ATTEMPTS: Final = 4
_PAUSE_S: Final = 0.25
_T = TypeVar("_T")


def patiently(action: Callable[[], _T]) -> _T:
    """The action's result, tried a few times while the database refuses; then what it raised last."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return action()
        except DATABASE_AWAY:
            time.sleep(_PAUSE_S)
    return action()
