"""Numbers and times as Prometheus' HTTP API writes and reads them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

import numpy as np

__all__ = ["duration", "moment", "number"]

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_PART: Final = re.compile(r"(\d+)(ms|[smhdwy])")
_DURATION: Final = re.compile(r"(?:\d+(?:ms|[smhdwy]))+\Z")


def number(value: float) -> str:
    """A sample's value as text: the shortest digits that give it back, NaN, +Inf, -Inf."""
    if math.isfinite(value):
        text = repr(value)
        if "e" not in text:
            return text.removesuffix(".0")
        if 1e-6 <= abs(value) < 1e21:  # noqa: PLR2004  where Prometheus changes to exponents
            return np.format_float_positional(value, trim="-")
        mantissa, _, exponent = text.partition("e")
        return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def moment(text: str) -> float:
    """Seconds since the epoch, from such a number or an RFC 3339 time.

    Raises:
        ValueError: it is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds) or abs(seconds) > 9e12:  # noqa: PLR2004  Prometheus' own bound is beyond any data
        raise ValueError(f"{text!r} is not a time")
    return seconds


def duration(text: str) -> float:
    """Seconds, from a number of them or a duration such as "1m30s".

    Raises:
        ValueError: it is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        if not _DURATION.match(text):
            raise ValueError(f"{text!r} is not a duration") from None
        return float(sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text)))
    if not math.isfinite(seconds) or abs(seconds) > 9e12:  # noqa: PLR2004  as above
        raise ValueError(f"{text!r} is not a duration")
    return seconds
