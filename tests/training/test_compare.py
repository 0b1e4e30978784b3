"""Steadiness is worse where a clip flickers, and no worse where a thing only moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training import compare, painting, world


def _clip(seed: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return (painting.render(world.simple_scene(seed)) * 255).astype(np.uint8)


def test_what_moves_is_steady_and_what_changes_is_not() -> None:
    moving = _clip()
    still = np.repeat(moving[:1], len(moving), axis=0)
    dimmed = moving.copy()
    dimmed[::2] = (dimmed[::2] * 0.7).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, moving.shape, dtype=np.uint8)
    assert compare.warp_error(still) == compare.flicker(still) == 0
    for measure in (compare.warp_error, compare.flicker):
        assert measure(moving) < 0.5 * measure(dimmed)
        assert measure(moving) < 0.5 * measure(noise)


def test_histograms_are_drawn(tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    compare.histograms({"a": {"flicker": [0.1, 0.2]}, "b": {"flicker": [0.3, 0.2]}}, file)
    assert file.stat().st_size > 500
