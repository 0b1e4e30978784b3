"""A database of its own for each test of what the studio keeps: SQLite, and PostgreSQL where it is installed."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres_process import PostgresProcess, installed
from studio_processes import eventually


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    """A running server.

    Not in pytest's own folder: that is its user's alone, each session sees to that anew, and the server of a session
    beside it, which may be another user, could read its files no more.
    """
    if installed() is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with tempfile.TemporaryDirectory() as folder:
        server = PostgresProcess(Path(folder) / "server")
        server.start()
        try:
            eventually(lambda: server.answers() or None, seconds=60, what="PostgreSQL")
            yield server
        finally:
            server.send(signal.SIGINT)
            server.wait()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studio.db"
    server: PostgresProcess = request.getfixturevalue("postgres")
    return server.new_database()
