"""A receiver over the shared store behind a real server on a free loopback port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otlp_server import Heard, Served, serving
from rushes.ingest import Limits, Receiver
from rushes.store.chdb_store import ChdbStore
from telemetry_store import NOW_NS, shared_store


@pytest.fixture
def store() -> ChdbStore:
    return shared_store()


@pytest.fixture
def served(store: ChdbStore) -> Iterator[Served]:
    heard = Heard()
    receiver = Receiver(
        store,
        limits=Limits(body_bytes=1 << 20, labels=8, series_per_metric=5),
        on_ingest=heard,
        clock_ns=lambda: NOW_NS,
    )
    with serving(receiver, heard) as running:
        yield running
