"""A real job database in a folder of its own for each test: SQLite, and PostgreSQL where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

import postgres_server
from rushes.studio.jobs import JobStore, Workers, open_database
from rushes.studio.keys import KeyStore
from studio.jobs.bench import Bench, Clock


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """The socket's folder of a running server."""
    programs = postgres_server.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with postgres_server.running(programs) as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studio.db"
    return postgres_server.new_database(request.getfixturevalue("postgres"))


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
