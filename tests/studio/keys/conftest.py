"""A database for keys, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from rushes.studio.jobs import open_database
from rushes.studio.keys import KeyStore

NOON_NS = 1_767_960_000_000_000_000  # 2026-01-09 12:00:00 UTC


class Clock:
    """Unix nanoseconds that move only when told to."""

    def __init__(self) -> None:
        self.now = NOON_NS

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def keys(engine: sa.Engine, clock: Clock) -> KeyStore:
    return KeyStore(engine, clock=clock)
