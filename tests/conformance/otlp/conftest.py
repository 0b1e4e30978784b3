"""The store that what arrives is read back from."""

from __future__ import annotations

import pytest

from rushes.store.chdb_store import ChdbStore
from telemetry_store import shared_store


@pytest.fixture
def store() -> ChdbStore:
    return shared_store()
