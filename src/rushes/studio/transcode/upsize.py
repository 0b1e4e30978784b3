"""Small clips made larger, because a person can't watch 64 pixels: whole multiples, said in the file.

What the quality measures see are the model's own frames; this happens on their way into the file and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Upsizing: TypeAlias = Literal["nearest", "lanczos"]

ENOUGH: Final = 256  # pixels of the shorter side: a clip of so many is left as it is


@dataclass(frozen=True, slots=True)
class Upsized:
    """What was done: both sides times `factor`, from `width` x `height` pixels, by `method`."""

    factor: int
    width: int
    height: int
    method: Upsizing

    def __str__(self) -> str:
        return f"upsized {self.factor}x from {self.width}x{self.height} ({self.method})"


def plan(width: int, height: int, method: Upsizing | None) -> Upsized | None:
    """The smallest whole factor that gives the shorter side `ENOUGH` pixels; None where nothing is to be done."""
    if method is None or min(width, height) >= ENOUGH:
        return None
    return Upsized(-(-ENOUGH // min(width, height)), width, height, method)


def repeat(rgb: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """A frame (height, width, 3) with every pixel a square of `factor` pixels."""
    return rgb.repeat(factor, axis=0).repeat(factor, axis=1)
