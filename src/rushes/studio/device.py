"""Which device the models run on."""

from __future__ import annotations

__all__ = ["pick_device"]


def pick_device(wanted: str) -> str:
    """`auto` is the first GPU where there is one, else the CPU; anything else is taken as torch names it."""
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
