"""Numbers, times and durations as Prometheus' HTTP API, and Go, write and read them."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Final

import numpy as np

__all__ = ["duration", "go_duration", "moment", "number", "stamp"]

_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_UNITS: Final = {"y": 31_536_000, "w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_DURATION: Final = re.compile("".join(f"(?:([0-9]{{1,18}}){unit})?" for unit in _UNITS))
_GO_UNITS: Final = {"ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 6e10, "h": 3.6e12}
_GO_PART: Final = re.compile(r"([0-9]{1,18}\.?[0-9]{0,18}|\.[0-9]{1,18})(ns|us|µs|μs|ms|s|m|h)")
_INT64: Final = 2**63
# Milliseconds of such a time fit everything that computes with them.
_FARTHEST_S: Final = 9e12


def number(value: float) -> str:
    """A sample's value as text: the shortest digits that give it back, NaN, +Inf, -Inf."""
    text = repr(value)
    if "e" in text:
        if 1e-6 <= abs(value) < 1e21:  # noqa: PLR2004  where Go changes to exponents
            return np.format_float_positional(value, trim="-")
        return text
    if "n" in text:
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"  # noqa: PLR0124  what isn't itself
    return text.removesuffix(".0")


def stamp(seconds: float) -> str:
    """A time in seconds as text: whole, or with three decimals."""
    milliseconds = round(seconds * 1000)
    whole, rest = divmod(abs(milliseconds), 1000)
    text = f"{whole}.{rest:03d}" if rest else str(whole)
    return f"-{text}" if milliseconds < 0 else text


def moment(text: str) -> float:
    """Seconds since the epoch, to the millisecond, from such a number or an RFC 3339 time.

    Raises:
        ValueError: it is neither.
    """
    wrong = ValueError(f"cannot parse {_quoted(text)} to a valid timestamp")
    if _FLOAT.fullmatch(text):
        seconds = float(text)
        if abs(seconds) > _FARTHEST_S:
            raise wrong
    elif _RFC3339.fullmatch(text):
        try:
            seconds = datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError) as error:
            raise wrong from error
    else:
        raise wrong
    return round(seconds * 1000) / 1000


def duration(text: str) -> float:
    """Seconds, from a number of them or a duration such as "1m30s".

    Raises:
        ValueError: it is neither.
    """
    found = _DURATION.fullmatch(text)
    if _FLOAT.fullmatch(text):
        seconds = float(text)
    elif text and found:
        seconds = float(sum(int(n) * u for n, u in zip(found.groups(), _UNITS.values(), strict=True) if n))
    else:
        raise ValueError(f"cannot parse {_quoted(text)} to a valid duration")
    if abs(seconds) * 1e9 >= _INT64:
        raise ValueError(f"cannot parse {_quoted(text)} to a valid duration. It overflows int64")
    return seconds


def go_duration(text: str) -> float:
    """Nanoseconds, from a duration as Go writes it, such as "1.5s", "100ms" or "1h30m"; never negative.

    Raises:
        ValueError: it is none.
    """
    parts = _GO_PART.findall(text)
    if text != "0" and (not parts or "".join(n + unit for n, unit in parts) != text):
        raise ValueError(
            f"invalid duration {_quoted(text)}: write a number and a unit, such as 100ms or 1.5s"
        )
    nanoseconds = float(sum(float(n) * _GO_UNITS[unit] for n, unit in parts))
    if nanoseconds >= _INT64 or not math.isfinite(nanoseconds):
        raise ValueError(f"invalid duration {_quoted(text)}: it is longer than 292 years")
    return nanoseconds


def _quoted(text: str) -> str:
    escaped = text[:200].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
