"""The shared store, and databases of a test's own, for these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clickhouse_server import Heard, opened, serving
from rushes.store.chdb_store import ChdbStore
from rushes.store.clickhouse_store import ClickHouseStore
from telemetry_store import shared_store


@pytest.fixture
def store() -> ChdbStore:
    return shared_store()


@pytest.fixture(scope="session")
def server() -> Iterator[Heard]:
    shared_store()
    with serving() as heard:
        yield heard


@pytest.fixture
def empty(server: Heard) -> Iterator[ClickHouseStore]:
    """A store with nothing in it."""
    with opened(server) as store:
        yield store
