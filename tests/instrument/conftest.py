"""The tiny pipelines as fixtures, and totals that begin empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rushes.instrument.totals import TOTALS
from tiny_pipelines import BUILDERS, Tiny, wake


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the small checkpoints are built, once."""
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture
def tiny(checkpoints: Path) -> Callable[[str], Tiny]:
    """Builds a tiny pipeline by its family's name; what one does to it, no other test sees."""

    def build(name: str) -> Tiny:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = BUILDERS[name](checkpoints)
        for module in made.pipe.components.values():
            if isinstance(module, torch.nn.Module):
                module.eval()
                if name not in {"mochi", "latte", "ltx2"}:  # built awake
                    wake(module)
        made.pipe.set_progress_bar_config(disable=True)
        return made

    return build


@pytest.fixture(autouse=True)
def _empty_totals() -> Iterator[None]:
    TOTALS.clear()
    yield
    TOTALS.clear()
