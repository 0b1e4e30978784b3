"""The jobs of one database, and what a test does to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from rushes.studio.jobs import JobStore, Workers, open_database
from rushes.studio.keys import KeyStore
from studio.jobs.bench import Bench, Clock


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def prompt_key() -> bytes:
    return Fernet.generate_key()


@pytest.fixture
def bench(engine: sa.Engine, prompt_key: bytes) -> Bench:
    clock = Clock()
    keys = KeyStore(engine)
    key, _ = keys.create("ci", tier="realtime", credits=100)
    return Bench(
        JobStore(engine, prompt_key=prompt_key, clock=clock), Workers(engine, clock), keys, key, clock
    )
