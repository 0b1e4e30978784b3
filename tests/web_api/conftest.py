"""The shared store, and the API's routes over it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from rushes.query import Readers
from rushes.store.chdb_store import ChdbStore
from rushes.web.api import routes
from telemetry_store import shared_store


@pytest.fixture
def store() -> ChdbStore:
    return shared_store()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(Readers.over(shared_store()), version="1.2"))) as client:
        yield client
