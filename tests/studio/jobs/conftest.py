"""A real job database in a folder of its own for each test: SQLite, and PostgreSQL where it is installed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from postgres_process import PostgresProcess, installed
from rushes.studio.jobs import JobStore, Workers, open_database
from rushes.studio.keys import KeyStore
from studio.jobs.bench import Bench, Clock
from studio_processes import eventually


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresProcess]:
    """A running server."""
    if installed() is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    server = PostgresProcess(tmp_path_factory.mktemp("postgres") / "server")
    server.start()
    try:
        eventually(lambda: server.answers() or None, seconds=60, what="PostgreSQL")
        yield server
    finally:
        server.send(signal.SIGINT)
        server.wait()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studio.db"
    server: PostgresProcess = request.getfixturevalue("postgres")
    return server.new_database()


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
