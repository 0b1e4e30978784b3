"""Numbers as people read them: scaled units, three significant digits. The twin of static/js/numbers.js."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["count", "duration", "percent", "short", "significant", "usd"]

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_ID_LENGTH: Final = 16
_TENTH: Final = 0.001
_CENTS: Final = 0.1


def significant(value: float) -> str:
    """A number to three significant digits, without trailing zeros: 1.24, 45.2, 680."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """Seconds as a time: 680 ms, 1.24 s, 2 min 15 s, 1 h, 2 d 3 h."""
    size = abs(seconds)
    if size < _MINUTE:
        for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
            # 0.9996 s would round to 1000 ms: it is 1 s
            if size >= scale * 0.9995:
                return f"{significant(seconds / scale)} {unit}"
        return f"{significant(seconds / 1e-9)} ns" if size else "0 s"
    whole = round(size)
    sign = "-" if seconds < 0 else ""
    if whole < _HOUR:
        return sign + _two(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAY:
        return sign + _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return sign + _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large} {unit} {small} {small_unit}" if small else f"{large} {unit}"


def count(value: float) -> str:
    """A count: whole below a thousand, then 12.3 k, 4.5 M, 1.2 G."""
    size = abs(value)
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale * 0.9995:
            return f"{significant(value / scale)} {unit}"
    return significant(value)


def usd(value: float) -> str:
    """US dollars: $1.24, and below ten cents to three significant digits: $0.00124."""
    return f"${value:.2f}" if value == 0 or value >= _CENTS else f"${significant(value)}"


def percent(ratio: float) -> str:
    """A share between 0 and 1 as a percentage, to a tenth."""
    if 0 < ratio < _TENTH:
        return "< 0.1 %"
    return f"{100 * ratio:.1f} %"


def short(identifier: str) -> str:
    """An id shortened in its middle, so that both ends can be compared."""
    return identifier if len(identifier) <= _ID_LENGTH else f"{identifier[:10]}…{identifier[-6:]}"
