"""Prometheus and Rushes with the same samples, once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prometheus_peer import PROMETHEUS, started
from promql_agreement import Both
from promql_dataset import dataset, write_to_peer, write_to_store
from rushes.query.promql import PromQL
from telemetry_store import shared_store


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    if PROMETHEUS is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    series = dataset()
    write_to_store(shared_store(), series)
    with started(tmp_path_factory.mktemp("prometheus")) as peer:
        write_to_peer(peer, series)
        yield Both(peer, PromQL(shared_store()), PromQL(shared_store(), experimental=True))
