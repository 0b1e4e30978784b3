"""Latents of rendered clips on disk, so that the VAE encodes each clip once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt


class Cache:
    """Clips number 0, 1, 2 ... as half-precision latents; `encode(first, last)` makes those from first to last - 1."""

    def __init__(
        self,
        file: Path,
        size: int,
        shape: tuple[int, ...],
        encode: Callable[[int, int], npt.NDArray[np.float16]],
    ) -> None:
        mode = "r+" if file.exists() else "w+"
        self._latents = np.memmap(file, np.float16, mode, shape=(size, *shape))
        self._count_file = file.with_suffix(".count")
        self._encode = encode
        self.count = int(self._count_file.read_text()) if mode == "r+" and self._count_file.exists() else 0

    def grow(self, count: int) -> None:
        """Make sure that there are `count` clips, or as many as there is room for."""
        count = min(count, len(self._latents))
        while self.count < count:
            last = min(count, self.count + 16)
            self._latents[self.count : last] = self._encode(self.count, last)
            self._latents.flush()
            self.count = last
            self._count_file.write_text(str(last))
            if last % 512 == 0:
                print(f"latents of {last} clips", flush=True)

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        return self._latents[index].astype(np.float32)
