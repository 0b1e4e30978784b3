"""Numbers and names as Prometheus writes and allows them."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["is_label", "number"]

_NAMES: Final = {math.inf: "+Inf", -math.inf: "-Inf"}


def number(value: float) -> str:
    """A float in the fewest decimal digits that say which it is, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return _NAMES[value]
    text = repr(value)
    if "e" in text:
        # Exact digits, then without the zeros and the point that nobody needs.
        mantissa, _, exponent = text.partition("e")
        digits, shift = mantissa.replace(".", "").lstrip("-"), int(exponent)
        sign = "-" if mantissa.startswith("-") else ""
        if shift < 0:
            return f"{sign}0.{'0' * (-shift - 1)}{digits}"
        return f"{sign}{digits.ljust(shift + 1, '0')}"
    return text.removesuffix(".0")


def is_label(name: str) -> bool:
    """Whether it can be a label's name: any text that isn't empty, since Prometheus 3."""
    return bool(name)
