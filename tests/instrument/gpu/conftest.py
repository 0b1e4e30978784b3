"""GPUs for tests where there is none: a recording."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def recording() -> Path:
    """Two H100s for six seconds, in the form that `record` writes; the second throttles and has an XID error."""
    return Path(__file__).with_name("two_h100.json")
