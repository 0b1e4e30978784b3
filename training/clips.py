"""Captioned clips as latents: rendered and encoded once, kept on disk, worded afresh whenever they are drawn.

Every other clip is of the plainest kind, one thing that moves: words for colours, shapes and directions are learnt
from those, so a training begins with them. There are few clips when training begins and more with every step, so that
it need not wait for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from training import captions, run, world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NO_TEXT = 0.1  # the share of samples without a caption, for classifier-free guidance


class Clips:
    """The clips of this process.

    Args:
        folder: where their latents are kept.
        count: how many there will be in the end.
        shape: of one clip's latents: channels, frames, height, width.
        encode: makes the latents of scenes.
        reversible: whether latents in reverse order are those of the clip played backwards.
        plainest: makes the scenes of the plainest kind from their seeds.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        shape: tuple[int, ...],
        encode: Callable[[list[world.Scene]], torch.Tensor],
        *,
        reversible: bool,
        plainest: Callable[[int], world.Scene] = world.simple_scene,
    ) -> None:
        file = folder / f"latents{run.rank()}.bin"
        begun = file.exists()
        self._latents = np.memmap(file, np.float16, "r+" if begun else "w+", shape=(count, *shape))
        self._count_file = file.with_suffix(".count")
        self._encode = encode
        self._reversible = reversible
        self._plainest = plainest
        self._first_seed = count * run.rank()
        self._scenes: dict[int, world.Scene] = {}
        self.count = int(self._count_file.read_text()) if begun and self._count_file.exists() else 0

    def scene(self, index: int) -> world.Scene:
        """What the clip shows."""
        if index not in self._scenes:
            make = self._plainest if index % 2 else world.scene
            self._scenes[index] = make(self._first_seed + index)
        return self._scenes[index]

    def grow(self, count: int) -> None:
        """Make sure that there are `count` clips, or as many as there will ever be."""
        count = min(count, len(self._latents))
        while self.count < count:
            last = min(count, self.count + 16)
            made = self._encode([self.scene(index) for index in range(self.count, last)])
            self._latents[self.count : last] = made.numpy()
            self._latents.flush()
            self.count = last
            self._count_file.write_text(str(last))

    def batch(
        self, rng: np.random.Generator, size: int, available: int, simple: float = 0.5
    ) -> tuple[torch.Tensor, list[str | None]]:
        """Latents of random clips of the first `available`, and a caption or None for each.

        `simple` is the share of clips of the plainest kind.
        """
        latents, said = [], []
        for _ in range(size):
            index = int(rng.integers(min(available, self.count) // 2)) * 2 + int(rng.random() < simple)
            scene, one = self.scene(index), self._latents[index].astype(np.float32)
            if self._reversible and rng.random() < 0.5:  # another clip, for nothing
                backwards = scene.reversed()
                if backwards.allowed():
                    scene, one = backwards, one[:, ::-1]
            said.append(None if rng.random() < NO_TEXT else captions.caption(scene, rng))
            latents.append(one)
        return torch.from_numpy(np.stack(latents)), said
