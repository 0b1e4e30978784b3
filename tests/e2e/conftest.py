"""One running platform for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from platform_process import Platform, start, stop


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    prices = {"RUSHES_COST__CPU_USD_PER_HOUR": "0.36", "RUSHES_COST__CREDIT_USD": "0.05"}
    running = start(tmp_path_factory.mktemp("platform") / "data", **prices)
    yield running
    assert stop(running) == [], "processes are left over"
