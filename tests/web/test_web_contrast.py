"""The colours' contrast and distance, computed from the stylesheet itself."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import rushes.web

Colour = npt.NDArray[np.float64]

CSS = Path(rushes.web.__file__).parent / "static" / "css"
TOKENS = dict(
    re.findall(r"(--[\w-]+): light-dark\((#[0-9a-f]{6}, #[0-9a-f]{6})\)", (CSS / "tokens.css").read_text())
)
THEMES = ("light", "dark")
SERIES = tuple(f"--series-{n}" for n in range(1, 9))

# linear RGB as people without red, green or blue cones see it (Machado, Oliveira, Fernandes 2009)
SEEN_BY = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def colour(name: str, theme: str) -> Colour:
    text = TOKENS[name].split(", ")[THEMES.index(theme)]
    channels = np.array([int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: Colour, other: Colour) -> float:
    light, dark = sorted((float(np.dot([0.2126, 0.7152, 0.0722], c)) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def oklab(linear: Colour) -> Colour:
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    ) @ np.clip(linear, 0, 1)
    result: Colour = np.array(
        [
            [0.2104542553, 0.793617785, -0.0040720468],
            [1.9779984951, -2.428592205, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.808675766],
        ]
    ) @ np.cbrt(cones)
    return result


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    ("names", "least"),
    [
        (("--ink",), 7.0),
        (("--ink-2", "--ink-3", "--accent", "--good", "--warn", "--bad", "--idle"), 4.5),
        (SERIES, 3.0),
    ],
)
def test_contrast(theme: str, names: tuple[str, ...], least: float) -> None:
    for name, ground in itertools.product(names, ("--ground", "--panel")):
        assert contrast(colour(name, theme), colour(ground, theme)) >= least, f"{name} on {ground}"


@pytest.mark.parametrize("theme", THEMES)
def test_words_on_accent_and_raised_ground(theme: str) -> None:
    assert contrast(colour("--on-accent", theme), colour("--accent", theme)) >= 4.5
    assert contrast(colour("--ink", theme), colour("--raised", theme)) >= 7
    assert contrast(colour("--ink-2", theme), colour("--raised", theme)) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eyes", SEEN_BY)
def test_series_stay_apart_for_colour_blind_eyes(theme: str, eyes: str) -> None:
    seen = {name: oklab(np.array(SEEN_BY[eyes]) @ colour(name, theme)) for name in SERIES}
    for one, other in itertools.combinations(SERIES, 2):
        distance = float(np.linalg.norm(seen[one] - seen[other]))
        assert distance > 0.09, f"{one} and {other} look alike"


def test_colours_are_defined_in_one_place() -> None:
    for sheet in CSS.glob("*.css"):
        if sheet.name != "tokens.css":
            found = set(re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;,) ])", sheet.read_text()))
            # the player's own black and the words on it do not follow the theme
            assert found <= {"#000", "#dfe4e8"}, sheet.name
