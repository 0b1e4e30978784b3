"""What happens to a measurement that the catalog does not know: an error in tests, a counted drop in production.

Telemetry never raises into a user's program. Under test it does, so that a misspelt label is found at once.
"""

from __future__ import annotations

import os
import threading
from collections import Counter

__all__ = ["Undeclared", "is_strict", "reject", "rejected", "set_strict"]

_state = {"strict": os.environ.get("RUSHES_STRICT", "") in {"1", "true"}}
_rejected: Counter[str] = Counter()
_lock = threading.Lock()


class Undeclared(Exception):  # noqa: N818 - reads as what it is: an undeclared name
    """A metric, label, span or event that the catalog does not declare. Raised in strict mode only."""


def set_strict(strict: bool) -> None:  # noqa: FBT001 - one switch
    """Makes undeclared names raise (tests) or be dropped and counted (production, the default)."""
    _state["strict"] = strict


def is_strict() -> bool:
    """Whether undeclared names raise."""
    return _state["strict"]


def reject(name: str, why: str) -> None:
    """Raises Undeclared in strict mode; else counts one rejection for `rushes_telemetry_rejected_total`."""
    if is_strict():
        raise Undeclared(f"{name}: {why}; declare it in rushes.catalog")
    with _lock:
        _rejected[name] += 1


def rejected() -> dict[str, int]:
    """Rejections so far, by metric or event name."""
    with _lock:
        return dict(_rejected)
