"""The small checkpoints, built once for all tests of the models."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.studio.models import small


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all three small checkpoints; not to be changed."""
    root = tmp_path_factory.mktemp("checkpoints")
    for name in ("MOCHI1", "LTX2", "OPENSORA"):
        small.build(name, root)
    return root
