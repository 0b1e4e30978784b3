"""A private PostgreSQL for tests: Debian's package, a cluster in a folder of its own, on a socket and no port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa

_NUMBERS: Final = count()


def programs() -> Path | None:
    """The folder with initdb and pg_ctl, None if PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


@contextmanager
def running(bin_folder: Path) -> Iterator[Path]:
    """A running server; its socket's folder. The server refuses to be root, and then is the user postgres."""
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="rushes-pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
    data = folder / "data"
    try:
        if user is not None:
            shutil.chown(folder, user, user)
        run([bin_folder / "initdb", "-D", data, "-U", "rushes", "-A", "trust", "-E", "UTF8", "-N"], user)
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=200"
        start: list[str | Path] = [
            bin_folder / "pg_ctl",
            "-D",
            data,
            "-w",
            "-l",
            folder / "log",
            "-o",
            options,
            "start",
        ]
        run(start, user)
        try:
            yield folder
        finally:
            run([bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "stop"], user)
    finally:
        shutil.rmtree(folder)


def run(command: Sequence[str | Path], user: str | None) -> None:
    done = subprocess.run(
        command, user=user, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()


def new_database(socket_folder: Path) -> str:
    """The URL of an empty database."""
    name = f"t{next(_NUMBERS)}"
    where = f"postgresql+psycopg://rushes@/{{}}?host={quote(str(socket_folder), safe='')}"
    admin = sa.create_engine(where.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return where.format(name).replace("+psycopg", "")
