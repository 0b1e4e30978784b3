"""Paints the world's scenes: edges smoothed, from distances to outlines, so that slow motion is smooth too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from training.world import BACKGROUNDS, COLOURS, SHAPES

if TYPE_CHECKING:
    from training.world import Array, Scene, Thing


def render(made: Scene, size: int = 64, frames: int = 16, times: Array | None = None) -> Array:
    """The clip as (frames, size, size, 3), values 0..1, edges smoothed; `times` replaces evenly spaced ones."""
    time = np.linspace(0, 1, frames, dtype=np.float32) if times is None else times
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    x, y = axis[None, None, :], axis[None, :, None]
    picture = _backdrop(made, time, x, y, size)
    for thing in made.things:
        _paint(picture, thing, time, x, y, size)
    return picture


def _backdrop(made: Scene, time: Array, x: Array, y: Array, size: int) -> Array:
    base = np.array(BACKGROUNDS[made.background], dtype=np.float32)
    shade = made.shade if made.background == "dark" else 1.0 + 0.1 * (made.shade - 1.0)
    picture = np.empty((len(time), size, size, 3), dtype=np.float32)
    picture[:] = np.clip(base * shade, 0, 1)
    if made.pan:  # a lattice of dots, or a camera's turn could not be seen
        shift = np.array(made.main.travel, dtype=np.float32)
        u = (x - time[:, None, None] * shift[0]) % 0.5 - 0.25
        v = (y - time[:, None, None] * shift[1]) % 0.5 - 0.25
        dot = np.clip(0.5 + (0.08 - np.sqrt(u * u + v * v)) * size / 2, 0, 1)
        light = 0.18 if base.mean() < 0.7 else -0.18
        picture = np.clip(picture + light * dot[..., None], 0, 1)
    return picture


def _paint(picture: Array, thing: Thing, time: Array, x: Array, y: Array, size: int) -> None:
    centre_x, centre_y = (one[:, None, None] for one in thing.path(time))
    radius = (thing.radius * thing.growth**time)[:, None, None].astype(np.float32)
    u, v = (x - centre_x) / radius, (y - centre_y) / radius
    if thing.turns:
        angle = (2 * math.pi * thing.turns * time)[:, None, None].astype(np.float32)
        cos, sin = np.cos(angle), np.sin(angle)
        u, v = u * cos + v * sin, v * cos - u * sin
    pixels = radius * (size / 2)
    inside = np.clip(0.5 + _inside(thing.shape, u, v) * pixels, 0, 1)[..., None]
    colour = np.clip(np.array(COLOURS[thing.colour], dtype=np.float32) * thing.tint, 0, 1)
    paint: Array = np.broadcast_to(colour, picture.shape)
    if thing.texture != "plain":
        wave = np.cos(u * np.float32(math.pi / 0.42))
        if thing.texture == "checked":
            wave = wave * np.cos(v * np.float32(math.pi / 0.42)) * 1.4
        dark = np.clip(0.5 + wave * pixels * 0.15, 0, 1)[..., None]
        paint = colour * (1 - 0.5 * dark)
    picture += inside * (paint - picture)


def _inside(shape: str, u: Array, v: Array) -> Any:
    """How far inside a shape of radius 1 a point lies (negative outside), nearly as a distance."""
    match shape:
        case "circle":
            return 1.0 - np.sqrt(u * u + v * v)
        case "square":
            return 0.86 - np.maximum(np.abs(u), np.abs(v))
        case "diamond":
            return (1.1 - np.abs(u) * 1.25 - np.abs(v)) * np.float32(0.62)
        case "triangle":
            return 0.56 - np.maximum(v - 0.22, (0.22 - v) * 0.5 + np.abs(u) * np.float32(0.866))
        case "cross":
            one = np.minimum(1.0 - np.abs(u), 0.33 - np.abs(v))
            other = np.minimum(1.0 - np.abs(v), 0.33 - np.abs(u))
            return np.maximum(one, other)
        case "ring":
            return 0.25 - np.abs(np.sqrt(u * u + v * v) - 0.78)
        case "star":
            return _star(u, v)
        case "heart":
            return _heart(u, v)
    raise ValueError(f"there is no shape {shape!r}; there are {', '.join(SHAPES)}")


def _star(u: Array, v: Array) -> Array:
    fifth = 2 * math.pi / 5
    angle = np.arctan2(u, -v)  # 0 is up
    fold = np.abs((angle + fifth / 2) % fifth - fifth / 2)
    distance = np.sqrt(u * u + v * v)
    along, across = distance * np.cos(fold), distance * np.sin(fold)
    tip, notch = 1.15, 0.47
    dx, dy = notch * math.cos(fifth / 2) - tip, notch * math.sin(fifth / 2)
    length = math.hypot(dx, dy)
    result: Array = (-(along - tip) * dy + across * dx) / np.float32(length)
    return result


def _heart(u: Array, v: Array) -> Array:
    half, lift = 0.8, 0.18
    body = (half - np.abs(u) - np.abs(v - lift)) * np.float32(math.sqrt(0.5))
    lobe_u, lobe_v = np.abs(u) - half / 2, v - lift + half / 2
    lobe = half * math.sqrt(0.5) - np.sqrt(lobe_u**2 + lobe_v**2)
    result: Array = np.maximum(body, lobe)
    return result
