"""Judges a clip: the colour, the shape and the direction of its main object, from the frames alone.

It knows nothing of the models nor of how the world paints; it looks for the largest region that differs from the
background, names its colour by hue, compares its outline with templates of its own and follows its centre. Where
it can't tell it says so with an empty string.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_GRID = 40  # outlines are compared on a grid of this size, spanning 2.4 times the radius of gyration each way
_SPAN = 2.4
_STILL = 0.09  # an object that moves less, as a share of the frame's side, stands still
_DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
_HUES = {
    "red": 0.0,
    "orange": 30.0,
    "yellow": 56.0,
    "green": 126.0,
    "cyan": 184.0,
    "blue": 231.0,
    "purple": 274.0,
    "pink": 325.0,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was seen. `seen` is the share of frames with an object, `fit` the overlap with the template, 0 to 1."""

    colour: str = ""
    shape: str = ""
    direction: str = ""
    seen: float = 0.0
    fit: float = 0.0


def judge(frames: Frames) -> Verdict:
    """Look at a clip of shape (frames, height, width, 3).

    Raises:
        ValueError: the frames have another shape or type.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(
            f"frames must be uint8 of shape (n, height, width, 3), not {frames.dtype} {frames.shape}"
        )
    pixels = frames.astype(np.float32) / 255
    difference = np.abs(pixels - _background(frames)).max(axis=-1)
    masks = [_largest(one > _threshold(difference)) for one in difference]
    area = frames.shape[1] * frames.shape[2]
    good = [index for index, mask in enumerate(masks) if 0.008 * area < mask.sum() < 0.6 * area]
    if len(good) < max(2, len(frames) // 3):
        return Verdict(seen=len(good) / len(frames))
    whole = [index for index in good if not _cut(masks[index])] or good
    shape, fit = _shape([masks[index] for index in whole])
    colour = _colour([pixels[index][_core(masks[index])] for index in good])
    return Verdict(colour, shape, _direction(good, masks), len(good) / len(frames), fit)


def _background(frames: Frames) -> npt.NDArray[np.float32]:
    """The commonest colour of the clip."""
    coarse = (frames >> 4).reshape(-1, 3).astype(np.int64)
    keys = coarse[:, 0] * 256 + coarse[:, 1] * 16 + coarse[:, 2]
    common = int(np.bincount(keys).argmax())
    chosen = frames.reshape(-1, 3)[keys == common]
    middle: npt.NDArray[np.float32] = np.median(chosen, axis=0).astype(np.float32) / 255
    return middle


def _threshold(difference: npt.NDArray[np.float32]) -> float:
    """Half of how much objects differ from the background; never so little that noise counts."""
    return max(0.16, 0.5 * float(np.quantile(difference, 0.985)))


def _largest(mask: Mask) -> Mask:
    """The largest connected region (4 neighbours), found by letting labels spread."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        around = np.maximum.reduce(
            [labels, padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        )
        spread = np.where(mask, around, 0)
        if (spread == labels).all():
            break
        labels = spread
    if not mask.any():
        return mask
    counts = np.bincount(labels[mask])
    result: Mask = labels == int(counts.argmax())
    return result


def _core(mask: Mask) -> Mask:
    """The mask without its border, where colours mix with the background."""
    padded = np.pad(mask, 1)
    inner = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner if inner.sum() > 8 else mask


def _cut(mask: Mask) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _colour(samples: list[npt.NDArray[np.float32]]) -> str:
    pixels = np.concatenate(samples)
    bright = pixels[pixels.max(axis=1) >= np.quantile(pixels.max(axis=1), 0.4)]  # stripes have a dark half
    red, green, blue = (float(one) for one in np.median(bright, axis=0))
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if saturation < 0.22:
        return "white" if value > 0.6 else ""
    degrees = hue * 360
    return min(_HUES, key=lambda name: abs((degrees - _HUES[name] + 180) % 360 - 180))


def _direction(good: list[int], masks: list[Mask]) -> str:
    height, width = masks[0].shape
    centres = []
    for index in good:
        rows, columns = np.nonzero(masks[index])
        centres.append((columns.mean() / width, rows.mean() / height))
    path = np.array(centres)
    times = np.array(good, dtype=np.float64)
    times = (times - times.mean()) / max(1, len(masks) - 1)
    slope = (times[:, None] * (path - path.mean(axis=0))).sum(axis=0) / (times**2).sum()
    if float(np.hypot(*slope)) < _STILL:
        return "still"
    angle = math.degrees(math.atan2(slope[1], slope[0]))
    return _DIRECTIONS[round(angle / 45) % 8]


# Outlines


def _shape(masks: list[Mask]) -> tuple[str, float]:
    """The template that overlaps best with the outline, averaged over frames."""
    outline = np.mean([_normal(mask) for mask in masks], axis=0)
    best, fit = "", 0.0
    for name, template in _TEMPLATES.items():
        for moved in _shifts(template):
            overlap = float(np.minimum(outline, moved).sum() / np.maximum(outline, moved).sum())
            if overlap > fit:
                best, fit = name, overlap
    return (best, fit) if fit > 0.55 else ("", fit)


def _shifts(template: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    return [np.roll(template, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def _normal(mask: Mask) -> npt.NDArray[np.float64]:
    """The mask centred, scaled to one radius of gyration, on a grid."""
    rows, columns = np.nonzero(mask)
    middle_y, middle_x = rows.mean(), columns.mean()
    radius = math.sqrt(((rows - middle_y) ** 2 + (columns - middle_x) ** 2).mean() + 1 / 6)
    axis = (np.arange(_GRID) + 0.5) / _GRID * 2 - 1
    y = np.rint(middle_y + axis * _SPAN * radius).astype(int)
    x = np.rint(middle_x + axis * _SPAN * radius).astype(int)
    inside_y, inside_x = (y >= 0) & (y < mask.shape[0]), (x >= 0) & (x < mask.shape[1])
    taken = mask[np.ix_(np.clip(y, 0, mask.shape[0] - 1), np.clip(x, 0, mask.shape[1] - 1))]
    result: npt.NDArray[np.float64] = (taken & inside_y[:, None] & inside_x[None, :]).astype(np.float64)
    return result


def _polygon(points: list[tuple[float, float]], size: int = 240) -> Mask:
    """A filled polygon by counting crossings; x to the right, y down, both in -1.2..1.2."""
    axis = ((np.arange(size) + 0.5) / size * 2 - 1) * 1.2
    x, y = axis[None, :], axis[:, None]
    inside = np.zeros((size, size), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def _round(count: int, radii: tuple[float, ...], turn: float = -90.0) -> list[tuple[float, float]]:
    points = []
    for index in range(count):
        angle, radius = math.radians(turn + 360 * index / count), radii[index % len(radii)]
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points


def _heart() -> list[tuple[float, float]]:
    points = []
    for t in np.linspace(0, 2 * math.pi, 120, endpoint=False):
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 17, -y / 17))
    return points


def _templates() -> dict[str, npt.NDArray[np.float64]]:
    third = 0.33
    cross = [(-third, -1), (third, -1), (third, -third), (1, -third), (1, third), (third, third)]
    cross += [(third, 1), (-third, 1), (-third, third), (-1, third), (-1, -third), (-third, -third)]
    disc = _polygon(_round(90, (1.0,)))
    drawn = {
        "circle": disc,
        "ring": disc & ~_polygon(_round(90, (0.53,))),
        "square": _polygon(_round(4, (1.0,), -45.0)),
        "diamond": _polygon([(0, -1), (0.78, 0), (0, 1), (-0.78, 0)]),
        "triangle": _polygon(_round(3, (1.0,))),
        "star": _polygon(_round(10, (1.0, 0.42))),
        "cross": _polygon([(float(x), float(y)) for x, y in cross]),
        "heart": _polygon(_heart()),
    }
    return {name: _normal(mask) for name, mask in drawn.items()}


_TEMPLATES = _templates()
