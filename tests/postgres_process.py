"""A PostgreSQL of one's own in a folder, to be killed and started again like any other process."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import psycopg
import psycopg.sql

from server_kills import free_port
from studio_processes import Process

__all__ = ["PostgresProcess", "installed"]

_PLACES: Final = Path("/usr/lib/postgresql")  # Debian's


def installed() -> Path | None:
    """The folder of PostgreSQL's programs, the newest; None if there is none."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(_PLACES.glob("*/bin"), key=lambda p: float(p.parent.name))
    return next((place for place in reversed(places) if (place / "postgres").exists()), None)


class PostgresProcess(Process):
    """The server, on a free port, with its data in `folder`; not started yet."""

    def __init__(self, folder: Path) -> None:
        programs = installed()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
        folder.mkdir(parents=True)
        self._data = folder / "cluster"
        run_as: dict[str, Any] = {}
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            user = pwd.getpwnam("postgres")
            run_as = {"user": user.pw_uid, "group": user.pw_gid}
            os.chown(folder, user.pw_uid, user.pw_gid)
            for above in folder.parents[:-2]:
                above.chmod(above.stat().st_mode | 0o011)  # a temporary folder is its maker's alone
        subprocess.run(
            [programs / "initdb", "-D", self._data, "-U", "rushes", "-A", "trust", "-E", "UTF8"],
            check=True,
            capture_output=True,
            **run_as,
        )
        port = free_port()
        super().__init__("database", [], dict(os.environ), folder)
        self._as = run_as
        self._command = [
            *(str(programs / "postgres"), "-D", str(self._data), "-p", str(port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"),
        ]
        self.url = f"postgresql://rushes@127.0.0.1:{port}/postgres"

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"d{secrets.token_hex(8)}"
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.url.removesuffix("postgres") + name
