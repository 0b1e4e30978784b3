"""Sets checkpoints of a model side by side: `--model OPENSORA NAME=DIR NAME=DIR ... --out DIR`.

Each draws the same held-out prompts; for every clip two numbers tell how steady it is, measured without any model:
`warp_error`, the difference of two frames that is left when each block of the first may move to wherever it fits the
second best, and `flicker`, how much the mean colour of the frame jumps to and fro. Both are shares of the full range
of a pixel; 0 is steady. Writes the numbers (JSON) and histograms.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from rushes.studio import models
from training import captions, evaluate

Numbers = npt.NDArray[np.float64]
BLOCK, REACH = 8, 6  # pixels: a block's side, and how far it may have come
INK = ("#1f5fbf", "#c2571a", "#777777", "#2e8b57")


def warp_error(frames: npt.NDArray[np.uint8]) -> float:
    """Mean over blocks and neighbouring frames of the least mean absolute difference within `REACH`."""
    pixels = torch.from_numpy(frames).float().permute(0, 3, 1, 2) / 255
    earlier, later = pixels[:-1], pixels[1:]
    padded = torch.nn.functional.pad(earlier, (REACH,) * 4, mode="replicate")
    height, width = pixels.shape[2:]
    best = torch.full((len(later), height // BLOCK, width // BLOCK), torch.inf)
    for down in range(2 * REACH + 1):
        for right in range(2 * REACH + 1):
            moved = padded[:, :, down : down + height, right : right + width]
            error = (later - moved).abs().mean(dim=1, keepdim=True)
            best = torch.minimum(best, torch.nn.functional.avg_pool2d(error, BLOCK)[:, 0])
    return float(best.mean())


def flicker(frames: npt.NDArray[np.uint8]) -> float:
    """Mean over time and colours of how far a frame's mean colour lies from its neighbours' mean."""
    colours = frames.astype(np.float64).mean(axis=(1, 2)) / 255
    return float(np.abs(colours[1:-1] - (colours[:-2] + colours[2:]) / 2).mean())


def numbers_of(backend: Any, count: int) -> dict[str, list[float]]:
    """Both numbers for `count` clips."""
    found: dict[str, list[float]] = {"warp_error": [], "flicker": []}
    for index, combination in enumerate(evaluate.prompts(count)):
        frames = evaluate.draw(backend, captions.simple(*combination), seed=1000 + index)
        found["warp_error"].append(warp_error(frames))
        found["flicker"].append(flicker(frames))
    return found


def histograms(found: dict[str, dict[str, list[float]]], file: Path) -> None:
    """A panel for each number, a line for each checkpoint, on a logarithmic scale."""
    measures = next(iter(found.values()))
    width, height, margin = 720, 230, 46
    image = Image.new("RGB", (width, height * len(measures)), "white")
    draw = ImageDraw.Draw(image)
    for panel, measure in enumerate(measures):
        values = {name: np.log10(np.maximum(numbers[measure], 1e-6)) for name, numbers in found.items()}
        every = np.concatenate(list(values.values()))
        edges = np.linspace(every.min() - 0.1, every.max() + 0.1, 41)
        top, floor = panel * height + 30, (panel + 1) * height - 34
        draw.line([(margin, floor), (width - margin, floor)], fill="#bbbbbb")
        draw.text((margin, panel * height + 8), measure.replace("_", " "), fill="black")
        for part in range(5):
            x = margin + (width - 2 * margin) * part / 4
            draw.text(
                (x - 14, floor + 6),
                f"{10 ** (edges[0] + (edges[-1] - edges[0]) * part / 4):.2g}",
                fill="black",
            )
        for row, (name, one) in enumerate(values.items()):
            counts = np.histogram(one, edges)[0] / len(one)
            xs = np.repeat(margin + (width - 2 * margin) * np.linspace(0, 1, 41), 2)[1:-1]
            ys = np.repeat(floor - (floor - top) * counts / max(0.01, counts.max()), 2)
            draw.line([(float(x), float(y)) for x, y in zip(xs, ys, strict=True)], fill=INK[row % 4], width=2)
            draw.text((width - margin - 120, top + 14 * row), name, fill=INK[row % 4])
    image.save(file, optimize=True)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="OPENSORA", choices=("OPENSORA", "MOCHI1", "LTX2"))
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for one in given.checkpoints:
        name, _, folder = one.partition("=")
        backend = models.backend(given.model, Path(folder))
        backend.load("all")
        found[name] = numbers_of(backend, given.prompts)
    summary = {
        name: {
            key: [round(float(one), 5) for one in np.quantile(values, (0.1, 0.5, 0.9))]
            for key, values in both.items()
        }
        for name, both in found.items()
    }
    print(json.dumps(summary, indent=1))
    given.out.mkdir(parents=True, exist_ok=True)
    content = {"quantiles_10_50_90": summary, "numbers": found}
    (given.out / "steadiness.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    histograms(found, given.out / "steadiness.png")


if __name__ == "__main__":
    main()
