"""A real job database with DBOS in it, in a folder of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from rushes.studio.jobs import JobStore, Submitter, open_database
from rushes.studio.keys import KeyStore
from studio.jobs.bench import Bench, Clock


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studio.db"


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def prompt_key() -> bytes:
    return Fernet.generate_key()


@pytest.fixture
def bench(engine: sa.Engine, prompt_key: bytes) -> Iterator[Bench]:
    clock = Clock()
    keys = KeyStore(engine)
    key, _ = keys.create("ci", tier="realtime", credits=100)
    submitter = Submitter(engine)
    yield Bench(JobStore(engine, prompt_key=prompt_key, clock=clock), submitter, keys, key, clock)
    submitter.close()
