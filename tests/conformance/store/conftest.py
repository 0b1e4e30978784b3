"""Every backend, for one suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from clickhouse_server import PASSWORD, Heard, serving
from rushes.store.chdb_store import ChdbStore
from rushes.store.clickhouse_store import ClickHouseStore
from rushes.store.clickhouse_url import ClickHouseUrl
from rushes.store.sql_store import SqlStore
from telemetry_store import RETENTION_S, shared_store

BACKENDS = ("embedded", "clickhouse")


@pytest.fixture(scope="module")
def server() -> Iterator[Heard]:
    shared_store()
    with serving() as heard:
        yield heard


@pytest.fixture(scope="module")
def clickhouse(server: Heard) -> Iterator[ClickHouseStore]:
    url = ClickHouseUrl.parse(f"clickhouse://me@127.0.0.1:{server.port}/conformance")
    store = ClickHouseStore(url, password=PASSWORD, retention_s=RETENTION_S)
    yield store
    store.close()


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest) -> SqlStore:
    """The backend under test."""
    if request.param == "embedded":
        return shared_store()
    found: SqlStore = request.getfixturevalue("clickhouse")
    return found


@pytest.fixture(params=BACKENDS)
def closed(request: pytest.FixtureRequest) -> Any:
    """A store of each kind that was closed."""
    if request.param == "embedded":
        # The engine has one folder a process: a store that is closed before it opens it.
        store = ChdbStore.__new__(ChdbStore)
        store.__dict__.update(shared_store().__dict__, _closed=True)
        return store
    server: Heard = request.getfixturevalue("server")
    url = ClickHouseUrl.parse(f"clickhouse://me@127.0.0.1:{server.port}/conformance")
    gone = ClickHouseStore(url, password=PASSWORD, retention_s=RETENTION_S)
    gone.close()
    return gone
