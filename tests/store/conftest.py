"""The shared store, for these tests."""

from __future__ import annotations

import pytest

from rushes.store.chdb_store import ChdbStore
from telemetry_store import shared_store


@pytest.fixture
def store() -> ChdbStore:
    return shared_store()
