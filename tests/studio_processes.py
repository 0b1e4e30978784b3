"""A studio's processes, each to be killed or stopped as one likes, started again as a supervisor would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

if TYPE_CHECKING:
    from postgres_process import PostgresProcess

from server_kills import free_port

__all__ = ["Process", "StudioProcesses", "eventually"]

T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """Waits for a condition, never for a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen in {seconds:g} s")


class Process:
    """One `rushes` process; every start writes a log of its own."""

    def __init__(self, name: str, arguments: list[str], env: dict[str, str], folder: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "rushes", *arguments]
        self._env = env
        self._folder = folder
        self.logs: list[Path] = []
        self.popen: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self._as: dict[str, Any] = {}  # who it runs as, where that is somebody else

    def start(self) -> None:
        self.logs.append(self._folder / f"{self.name}.{len(self.logs)}.log")
        with self.logs[-1].open("wb") as log:
            self.popen = subprocess.Popen(
                self._command,
                env=self._env,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self._folder,
                **self._as,
            )

    def send(self, number: signal.Signals) -> None:
        if self.popen is not None and self.popen.poll() is None:
            self.popen.send_signal(number)
            self.stopped = number is signal.SIGSTOP

    def wait(self) -> None:
        """Waits for its end, and ends it if that does not come."""
        if self.popen is None:
            return
        try:
            self.popen.wait(60)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def answers(self) -> bool:
        """Whether it does what it is for, so that it may be killed at it."""
        return self.said("worker.started")

    def said(self, event: str) -> bool:
        """Whether this process, since it was started last, has logged an event."""
        return bool(self.logs) and f'"{event}"' in self.logs[-1].read_text(errors="replace")


class StudioProcesses:
    """A gateway and workers on one folder. As a context: started, and at its end all gone.

    `roles` are the workers'; the first `at_once` of them are started on entering, the others by the caller.

    Jobs are in SQLite, in a database that is there already, or in one that is started and may be killed with the rest.
    """

    def __init__(
        self,
        folder: Path,
        *,
        roles: Sequence[str],
        at_once: int | None = None,
        jobs_url: str | None = None,
        database: PostgresProcess | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        jobs_url = database.url if database else jobs_url
        self.data_dir = folder / "data"
        self.config_dir = folder / "config"
        port = free_port()
        logs = folder / "logs"
        for made in (self.data_dir, self.config_dir, logs):
            made.mkdir(parents=True)
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RUSHES_", "OTEL_"))},
            "RUSHES_DATA_DIR": str(self.data_dir),
            "RUSHES_CONFIG_DIR": str(self.config_dir),
            "RUSHES_GATEWAY_PORT": str(port),
            "RUSHES_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",  # nobody listens
            "RUSHES_TORCH_THREADS": "1",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            **settings,
        }
        if jobs_url is not None:
            env["RUSHES_JOBS"] = jobs_url
        self.env = env
        self.jobs_url = jobs_url or f"sqlite:///{self.data_dir / 'studio.db'}"
        self.database = database
        self.gateway = Process("gateway", ["gateway"], env, logs)
        self.workers = [
            Process(f"worker-{n}", ["worker", "--role", role, "--id", f"worker-{n}"], env, logs)
            for n, role in enumerate(roles)
        ]
        self._at_once = self.workers[:at_once]
        self.url = f"http://127.0.0.1:{port}"
        self._client: httpx.Client | None = None

    @property
    def all(self) -> list[Process]:
        return [*([self.database] if self.database else []), self.gateway, *self.workers]

    def __enter__(self) -> Self:
        if self.database is not None:
            self.database.start()
            eventually(self.database.answers, seconds=60, what="the database's first answer")
        self.gateway.start()
        # The first one makes the database, the keys and the small checkpoints that the others find.
        self._at_once[0].start()
        eventually(self.answers, seconds=120, what="the gateway's first answer")
        eventually(lambda: self.ready(self._at_once[0]), seconds=180, what="the first worker's start")
        for worker in self._at_once[1:]:
            worker.start()
        eventually(lambda: all(map(self.ready, self._at_once)), seconds=180, what="the workers' start")
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        for process in self.all:
            process.send(signal.SIGCONT)
        for process in [self.gateway, *self.workers]:
            process.send(signal.SIGTERM)
        for process in reversed(self.all):  # the database last
            if process is self.database:
                process.send(signal.SIGINT)
            process.wait()

    def restart_ended(self) -> None:
        """Starts again what has ended."""
        for process in self.all:
            if process.popen is not None and not process.running:
                process.start()

    def ready(self, process: Process) -> bool:
        """Whether it runs, is not stopped, and does what it is for."""
        if not process.running or process.stopped:
            return False
        return self.answers() if process is self.gateway else process.answers()

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with the development key. Raises httpx.HTTPError."""
        if self._client is None:
            key = (self.config_dir / "development.key").read_text().strip()
            self._client = httpx.Client(
                base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=40
            )
        return self._client.request(method, path, **options)

    def log_lines(self) -> Iterator[dict[str, Any]]:
        """Every log line of every process."""
        for process in self.all:
            for path in process.logs:
                for line in path.read_text(errors="replace").splitlines():
                    with contextlib.suppress(ValueError):
                        entry = json.loads(line)
                        if isinstance(entry, dict):
                            yield entry
