"""The world that the small models learn: coloured shapes that move, as a seeded generator and not as files.

A scene says what there is to see in words (`Thing.shape`, `Thing.motion` ...) and in numbers (radius, path), so
that captions and pictures come from one source. Lengths are in units of half a frame's side: x and y run from -1
(left, top) to 1. Time runs from 0 to 1 over a clip, whatever its length in seconds.

Some combinations of colour, shape and direction never occur in training (`held_out`): drawing them right shows that
a model has understood the words and not learnt the clips by heart.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # of floats

SHAPES = ("circle", "square", "triangle", "star", "ring", "diamond", "cross", "heart")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.92, 0.10, 0.10),
    "orange": (1.00, 0.50, 0.05),
    "yellow": (0.97, 0.90, 0.12),
    "green": (0.12, 0.75, 0.18),
    "cyan": (0.10, 0.85, 0.90),
    "blue": (0.12, 0.25, 0.95),
    "purple": (0.55, 0.15, 0.85),
    "pink": (1.00, 0.40, 0.75),
    "white": (0.95, 0.95, 0.95),
}
DIRECTIONS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up left": (-1, -1),
    "up right": (1, -1),
    "down left": (-1, 1),
    "down right": (1, 1),
}
STRAIGHT = ("left", "right", "up", "down")
OPPOSITE = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "up left": "down right",
    "down right": "up left",
    "up right": "down left",
    "down left": "up right",
}
SIZES = {"small": 0.27, "medium": 0.38, "large": 0.52}
SPEEDS = {"slow": 0.5, "normal": 0.9, "fast": 1.35}
TEXTURES = ("plain", "striped", "checked")
BACKGROUNDS: dict[str, tuple[float, float, float]] = {
    "dark": (0.10, 0.10, 0.11),
    "black": (0.0, 0.0, 0.0),
    "grey": (0.45, 0.45, 0.45),
    "white": (0.97, 0.97, 0.97),
    "dark blue": (0.04, 0.06, 0.26),
    "dark green": (0.03, 0.20, 0.07),
}
MOTIONS = ("moves", "bounces", "spins", "grows", "shrinks", "stays")
HELD_OUT_SHARE = 5  # one combination in five


def held_out(shape: str, colour: str, direction: str) -> bool:
    """Whether the combination is kept from training."""
    digest = hashlib.sha256(f"{shape}/{colour}/{direction}".encode()).digest()
    return digest[0] % HELD_OUT_SHARE == 0


def held_out_combinations(directions: tuple[str, ...] = STRAIGHT) -> list[tuple[str, str, str]]:
    """All (shape, colour, direction) that training never shows."""
    every = itertools.product(SHAPES, COLOURS, directions)
    return [combination for combination in every if held_out(*combination)]


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: what it is in words, and its path from `start` by `travel` over the clip.

    `turns` is how often it turns around itself (clockwise if positive), `growth` the factor between its first and
    last radius, `bounces` how often it touches the ground, `height` how high it jumps, `phase` where in a jump the
    clip begins (0 to 1).
    """

    shape: str
    colour: str
    texture: str = "plain"
    size: str = "medium"
    motion: str = "moves"
    direction: str = ""
    speed: str = "normal"
    radius: float = 0.38
    tint: float = 1.0
    start: tuple[float, float] = (0.0, 0.0)
    travel: tuple[float, float] = (0.0, 0.0)
    turns: float = 0.0
    growth: float = 1.0
    bounces: float = 0.0
    height: float = 0.0
    phase: float = 0.0

    def path(self, time: Array) -> tuple[Array, Array]:
        """The centre at each time."""
        x = self.start[0] + self.travel[0] * time
        y = self.start[1] + self.travel[1] * time
        if self.bounces:
            beat = (self.phase + self.bounces * time) % 1.0
            y = y - self.height * 4 * beat * (1 - beat)
        return x.astype(np.float32), y.astype(np.float32)

    def impacts(self) -> list[float]:
        """The times at which it touches the ground, in 0..1."""
        if not self.bounces:
            return []
        first = math.ceil(self.phase + 1e-6)
        times = [(beat - self.phase) / self.bounces for beat in range(first, first + int(self.bounces) + 2)]
        return [time for time in times if 0.0 < time < 1.0]

    def reversed(self) -> Thing:
        """The same thing with time running backwards."""
        end = (self.start[0] + self.travel[0], self.start[1] + self.travel[1])
        grown = {"grows": "shrinks", "shrinks": "grows"}.get(self.motion, self.motion)
        return replace(
            self,
            motion=grown,
            direction=OPPOSITE.get(self.direction, ""),
            start=end,
            travel=(-self.travel[0], -self.travel[1]),
            turns=-self.turns,
            radius=self.radius * self.growth,
            growth=1.0 / self.growth,
            phase=-(self.phase + self.bounces) % 1.0,
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """What a clip shows. `pan` is the direction that the camera turns to, "" if it stands still."""

    things: tuple[Thing, ...]
    background: str = "dark"
    shade: float = 1.0
    pan: str = ""
    relation: str = ""  # how a second thing lies to the first where nothing moves

    @property
    def main(self) -> Thing:
        """The thing that the caption speaks of first."""
        return self.things[0]

    def allowed(self) -> bool:
        """Whether training may show it."""
        return not any(
            thing.direction and held_out(thing.shape, thing.colour, thing.direction) for thing in self.things
        )

    def reversed(self) -> Scene:
        """The same scene with time running backwards."""
        things = tuple(thing.reversed() for thing in self.things)
        return replace(self, things=things, pan=OPPOSITE.get(self.pan, ""))


# Making scenes


def scene(seed: int) -> Scene:
    """A random scene that training may show; the same for the same seed."""
    rng = np.random.default_rng([20_260, seed])
    while True:
        made = _draw(rng)
        if made.allowed():
            return made


def simple_scene(seed: int) -> Scene:
    """A random scene of one plain thing that moves before a dark background; the same for the same seed."""
    rng = np.random.default_rng([20_262, seed])
    while True:
        thing = _thing(rng, "dark", attributes=False)
        direction = _pick(rng, STRAIGHT if rng.random() < 0.8 else tuple(DIRECTIONS)[4:])
        made = _mover(rng, thing, direction, "dark", float(rng.uniform(0.6, 1.4)))
        if made.allowed():
            return made


def bouncing_scene(seed: int) -> Scene:
    """A random scene of one plain thing that bounces before a dark background; the same for the same seed."""
    rng = np.random.default_rng([20_263, seed])
    while True:
        thing = _single(rng, _thing(rng, "dark", attributes=False), "bounce")
        made = Scene((thing,), "dark", float(rng.uniform(0.6, 1.4)))
        if made.allowed():
            return made


def plain(shape: str, colour: str, direction: str, seed: int) -> Scene:
    """A scene of one plain thing that moves as told, held out or not: what a checker is tested on."""
    rng = np.random.default_rng([20_261, seed])
    return _mover(rng, Thing(shape, colour), direction, "dark", float(rng.uniform(0.6, 1.4)))


def _pick(rng: np.random.Generator, options: tuple[str, ...] | dict[str, object], *weights: float) -> str:
    names = tuple(options)
    odds = np.array(weights, dtype=np.float64) if weights else np.ones(len(names))
    return names[int(rng.choice(len(names), p=odds / odds.sum()))]


def _draw(rng: np.random.Generator) -> Scene:
    kinds = ("straight", "diagonal", "bounce", "spin", "size", "stay", "two", "pan")
    kind = _pick(rng, kinds, 0.54, 0.12, 0.08, 0.05, 0.06, 0.03, 0.08, 0.04)
    attributes = kind != "two" and rng.random() < 0.45
    background = "dark"
    if attributes and rng.random() < 0.4:
        background = _pick(rng, dict.fromkeys(tuple(BACKGROUNDS)[1:]))
    shade = float(rng.uniform(0.6, 1.4))
    thing = _thing(rng, background, attributes=attributes)
    if kind in {"straight", "diagonal"}:
        names = STRAIGHT if kind == "straight" else tuple(DIRECTIONS)[4:]
        if attributes and rng.random() < 0.4:
            thing = replace(thing, speed=_pick(rng, ("slow", "fast")))
        return _mover(rng, thing, _pick(rng, names), background, shade)
    if kind == "two":
        return _two(rng, thing, shade)
    made = Scene((_single(rng, thing, kind),), background, shade)
    return _panned(rng, made) if kind == "pan" else made


def _thing(rng: np.random.Generator, background: str, *, attributes: bool) -> Thing:
    colours = tuple(name for name in COLOURS if not (name == "white" and background == "white"))
    texture, size = "plain", "medium"
    if attributes and rng.random() < 0.35:
        texture = _pick(rng, TEXTURES[1:])
    if attributes and rng.random() < 0.45:
        size = _pick(rng, ("small", "large"))
    if texture != "plain" and size == "small":
        size = "medium"
    return Thing(
        _pick(rng, SHAPES),
        _pick(rng, colours),
        texture,
        size,
        radius=SIZES[size] * float(rng.uniform(0.93, 1.07)),
        tint=float(rng.uniform(0.92, 1.05)),
    )


def _mover(rng: np.random.Generator, thing: Thing, direction: str, background: str, shade: float) -> Scene:
    way = np.array(DIRECTIONS[direction], dtype=np.float64)
    length = SPEEDS[thing.speed] * rng.uniform(0.9, 1.1) * (0.8 if way.all() else 1.0)
    travel = way * length
    room = max(0.1, 0.95 - thing.radius)
    centre = rng.uniform(-1, 1, 2) * np.maximum(0.06, room - np.abs(travel) / 2)
    start = centre - travel / 2
    mover = replace(
        thing,
        direction=direction,
        start=(float(start[0]), float(start[1])),
        travel=(float(travel[0]), float(travel[1])),
    )
    return Scene((mover,), background, shade)


def _single(rng: np.random.Generator, thing: Thing, kind: str) -> Thing:
    place = rng.uniform(-1, 1, 2) * 0.7 * (0.95 - thing.radius)
    here = (float(place[0]), float(place[1]))
    if kind == "bounce":
        drift = float(rng.choice([0.0, 0.0, -0.8, 0.8]))
        floor = 0.92 - thing.radius
        side = -drift / 2 + float(rng.uniform(-0.1, 0.1) if drift else here[0])
        return replace(
            thing,
            motion="bounces",
            direction={-0.8: "left", 0.8: "right"}.get(drift, ""),
            start=(side, floor),
            travel=(drift, 0.0),
            bounces=float(rng.uniform(1.8, 3.2)),
            height=float(rng.uniform(0.7, 1.1)) * (floor + 0.95 - thing.radius) / 1.3,
            phase=float(rng.uniform(0.1, 0.9)),
        )
    if kind == "spin":
        shape = thing.shape if thing.shape not in {"circle", "ring"} or thing.texture != "plain" else "star"
        turns = float(rng.choice([-1, 1]) * rng.uniform(0.4, 0.6))
        return replace(thing, shape=shape, motion="spins", start=here, turns=turns)
    if kind == "size":
        growth = float(rng.uniform(2.0, 2.6))
        spot = (here[0] * 0.5, here[1] * 0.5)
        if rng.random() < 0.5:
            return replace(
                thing, size="medium", motion="grows", radius=0.22 * thing.tint, growth=growth, start=spot
            )
        return replace(
            thing, size="medium", motion="shrinks", radius=0.5 * thing.tint, growth=1 / growth, start=spot
        )
    return replace(thing, motion="stays", start=here)


def _panned(rng: np.random.Generator, made: Scene) -> Scene:
    pan = _pick(rng, STRAIGHT)
    way = np.array(DIRECTIONS[pan], dtype=np.float64)
    shift = -way * rng.uniform(0.7, 1.0)  # what stands still moves against the camera
    start = np.array(made.main.start) * 0.5 - shift / 2
    still = replace(
        made.main, start=(float(start[0]), float(start[1])), travel=(float(shift[0]), float(shift[1]))
    )
    return replace(made, things=(still,), pan=pan)


def _two(rng: np.random.Generator, first: Thing, shade: float) -> Scene:
    second = _thing(rng, "dark", attributes=False)
    while second.colour == first.colour and second.shape == first.shape:
        second = _thing(rng, "dark", attributes=False)
    sides = [first, second]
    moving = rng.random() < 0.6
    across = bool(rng.random() < 0.5)  # side by side, else one above the other
    order = int(rng.choice([-1, 1]))  # -1: the first is left or above
    placed = []
    for index, thing in enumerate(sides):
        offset = 0.5 * (order if index == 0 else -order) + rng.uniform(-0.05, 0.05)
        along = rng.uniform(-0.15, 0.15)
        spot = np.array([offset, along] if across else [along, offset])
        radius = 0.3 * thing.tint
        if not moving:
            placed.append(
                replace(thing, motion="stays", radius=radius, start=(float(spot[0]), float(spot[1])))
            )
            continue
        direction = _pick(rng, ("up", "down") if across else ("left", "right"))
        travel = np.array(DIRECTIONS[direction]) * 0.85 * rng.uniform(0.9, 1.1)
        start = spot - travel / 2
        placed.append(
            replace(
                thing,
                radius=radius,
                direction=direction,
                start=(float(start[0]), float(start[1])),
                travel=(float(travel[0]), float(travel[1])),
            )
        )
    before = ("left of" if order < 0 else "right of") if across else ("above" if order < 0 else "below")
    return Scene((placed[0], placed[1]), "dark", shade, relation=before)


# Sound


def sound(made: Scene, seconds: float, rate: int = 16_000, count: int | None = None) -> Array:
    """The clip's sound, mono, -1..1: a knock at each touch of the ground, a hum that is higher the faster it goes.

    `seconds` is from the first frame to the last; there are `count` samples, by default as many as that takes.
    """
    count = round(seconds * rate) if count is None else count
    time = np.arange(count, dtype=np.float64) / rate
    thing = made.main
    wave = np.zeros(count)
    for impact in thing.impacts():
        since = time - impact * seconds
        ring = np.exp(-np.clip(since, 0, None) / 0.05) * (since >= 0)
        wave += 0.8 * ring * np.sin(2 * math.pi * 620 * since)
    speed = math.hypot(*thing.travel)
    if speed > 0 and not thing.bounces:
        wave += 0.25 * np.sin(2 * math.pi * (140 + 420 * speed) * time)
    return np.clip(wave, -1, 1).astype(np.float32)
