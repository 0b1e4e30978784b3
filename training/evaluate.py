"""Measures a folder of weights: `python -m training.evaluate --model OPENSORA --weights DIR --prompts 200`.

Prompts are combinations of colour, shape and direction that training never showed; each is drawn through the
studio's own backend with its defaults and judged by `training.checker`. Writes figures (JSON) and a contact sheet.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from rushes.studio import models
from training import captions, checker, world


def prompts(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """Held-out combinations, each as often as the others, in a mixed order."""
    every = world.held_out_combinations()
    order = np.random.default_rng(seed).permutation(len(every))
    return [every[order[index % len(every)]] for index in range(count)]


def draw(backend: Any, prompt: str, **request: Any) -> Any:
    """The frames that the studio's backend makes of a prompt."""
    asked = backend.card.request(**request)
    return backend.decode(backend.denoise(backend.encode(prompt), asked), asked)


def measure(backend: Any, count: int, **request: Any) -> tuple[dict[str, Any], list[tuple[str, Any, bool]]]:
    """Draw and judge; returns the figures and every clip with its prompt and whether it is right."""
    hits: Counter[str] = Counter()
    wrong: list[str] = []
    drawn = []
    seconds = []
    for index, (shape, colour, direction) in enumerate(prompts(count)):
        prompt = captions.simple(shape, colour, direction)
        began = time.monotonic()
        frames = draw(backend, prompt, seed=1000 + index, **request)
        seconds.append(time.monotonic() - began)
        seen = checker.judge(frames)
        right = {
            "colour": seen.colour == colour,
            "shape": seen.shape == shape,
            "direction": seen.direction == direction,
        }
        hits.update({key: int(value) for key, value in right.items()})
        hits["all"] += all(right.values())
        if not all(right.values()):
            wrong.append(f"{prompt}: a {seen.colour or '?'} {seen.shape or '?'}, {seen.direction or '?'}")
        drawn.append((prompt, frames, all(right.values())))
    figures = {key: round(100 * hits[key] / count, 1) for key in ("colour", "shape", "direction", "all")}
    return {
        "prompts": count,
        "percent": figures,
        "seconds_a_clip": round(float(np.median(seconds)), 2),
        "wrong": wrong,
    }, drawn


def sheet(drawn: list[tuple[str, Any, bool]], file: Path, columns: int = 6) -> None:
    """A contact sheet: a clip a row, frames from left to right, its prompt above."""
    rows = []
    for prompt, frames, right in drawn:
        picked = frames[np.linspace(0, len(frames) - 1, columns).round().astype(int)]
        strip = Image.fromarray(np.concatenate(list(picked), axis=1))
        row = Image.new("RGB", (strip.width, strip.height + 16), "white")
        row.paste(strip, (0, 16))
        ImageDraw.Draw(row).text((2, 2), prompt if right else f"{prompt} (wrong)", fill="black")
        rows.append(np.asarray(row))
    half = (len(rows) + 1) // 2
    rows += [np.full_like(rows[0], 255)] * (2 * half - len(rows))
    gap = np.full((half * rows[0].shape[0], 8, 3), 255, dtype=np.uint8)
    whole = np.concatenate([np.concatenate(rows[:half]), gap, np.concatenate(rows[half:])], axis=1)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(whole).save(file, optimize=True)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=("OPENSORA", "MOCHI1", "LTX2"))
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a folder for figures.json and sheet.png")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    backend = models.backend(given.model, given.weights)
    backend.load("all")
    figures, drawn = measure(backend, given.prompts, steps=given.steps, guidance_scale=given.guidance)
    print(json.dumps(figures, indent=1))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        sheet(drawn[:24], given.out / "sheet.png")


if __name__ == "__main__":
    main()
