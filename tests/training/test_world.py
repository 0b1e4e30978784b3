"""The world is the same for the same seed, its captions say what it shows, and the checker sees what it shows."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import captions, checker, painting, world


def _bytes(clip: world.Array) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return (clip * 255).round().astype(np.uint8)


def test_a_seed_is_a_scene() -> None:
    seeds = range(60)
    made = [world.scene(seed) for seed in seeds]
    assert made == [world.scene(seed) for seed in seeds]
    assert len(set(made)) == len(made)
    once, again = (
        hashlib.sha256(_bytes(painting.render(made[3], 32, 4)).tobytes()).hexdigest() for _ in range(2)
    )
    assert once == again


def test_training_never_sees_what_is_held_out() -> None:
    held = world.held_out_combinations()
    assert 40 <= len(held) <= 90
    assert {shape for shape, _, _ in held} == set(world.SHAPES)
    assert {colour for _, colour, _ in held} == set(world.COLOURS)
    assert {direction for _, _, direction in held} == set(world.STRAIGHT)
    for seed in range(400):
        made = world.scene(seed)
        assert made.allowed()
        for thing in made.things:
            assert (thing.shape, thing.colour, thing.direction) not in held


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**40))
def test_backwards_is_the_same_clip_backwards(seed: int) -> None:
    made = world.scene(seed)
    forwards, backwards = (painting.render(one, 32, 7) for one in (made, made.reversed()))
    # A lattice that the camera passes is drawn from where the first frame has it.
    if not made.pan and not made.main.turns:
        assert np.abs(forwards[::-1] - backwards).max() < 0.02


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_captions_name_shapes_colours_and_directions(seed: int, wording: int) -> None:
    made = world.scene(seed)
    said = captions.caption(made, np.random.default_rng(wording)).lower()
    for thing in made.things:
        assert any(word in said for word in captions.SHAPE_WORDS[thing.shape]), said
        assert any(word in said for word in captions.COLOUR_WORDS[thing.colour]), said
        for part in thing.direction.split():
            word = {"up": ("up", "top"), "down": ("down", "bottom", "lower")}.get(part, (part,))
            assert any(one in said for one in word), said
    assert "  " not in said
    assert said == said.strip()


def test_the_plainest_wording_is_the_commonest() -> None:
    rng = np.random.default_rng(5)
    movers = [made for made in map(world.scene, range(600)) if made.main.motion == "moves" and not made.pan]
    plain = sum(
        captions.caption(made, rng).lower()
        == captions.simple(made.main.shape, made.main.colour, made.main.direction)
        for made in movers
    )
    assert plain / len(movers) > 0.08


def test_strange_words_are_unknown() -> None:
    assert not set(captions.STRANGE) & set(captions.vocabulary())


@pytest.mark.parametrize("quality", ["clean", "degraded"])
def test_the_checker_sees_what_is_shown(quality: str) -> None:
    rng = np.random.default_rng(1)
    right = 0
    for index in range(120):
        shape = world.SHAPES[index % 8]
        colour = tuple(world.COLOURS)[index % 9]
        direction = tuple(world.DIRECTIONS)[(index * 3 + index // 8) % 8]
        clip = painting.render(world.plain(shape, colour, direction, 90_000 + index), frames=8)
        if quality == "degraded":  # blurred and noisy
            for axis in (1, 2):
                clip = (np.roll(clip, 1, axis) + 2 * clip + np.roll(clip, -1, axis)) / 4
            clip = np.clip(clip + rng.normal(0, 0.05, clip.shape), 0, 1)
        seen = checker.judge(_bytes(clip))
        right += (seen.colour, seen.shape, seen.direction) == (colour, shape, direction)
    assert right >= 119


def test_the_checker_is_not_easily_pleased() -> None:
    rng = np.random.default_rng(2)
    noise = checker.judge(rng.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8))
    assert noise.shape == ""
    grey = checker.judge(np.full((8, 64, 64, 3), 90, dtype=np.uint8))
    assert (grey.colour, grey.shape, grey.direction) == ("", "", "")
    still = painting.render(world.plain("heart", "green", "left", 3), frames=1).repeat(8, axis=0)
    assert checker.judge(_bytes(still)).direction == "still"
    with pytest.raises(ValueError, match="uint8"):
        checker.judge(np.zeros((8, 64, 64)))  # type: ignore[arg-type]


def test_sound_marks_the_bounces() -> None:
    made = next(one for one in map(world.scene, range(500)) if one.main.bounces and not one.main.direction)
    wave = world.sound(made, 2.0)
    loud = np.abs(wave) > 0.3
    for impact in made.main.impacts():
        at = round(impact * 2.0 * 16_000)
        assert loud[at : at + 800].any()
        assert not loud[max(0, at - 800) : max(0, at - 10)].any()
