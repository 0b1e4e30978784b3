"""`rushes up`: starts the control room and the studio, says where they are, keeps them running, stops them in order."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import quote

import httpx

from rushes.launch import local
from rushes.launch.child import Child
from rushes.launch.lifetime import stop_on_signals
from rushes.launch.ports import reserve
from rushes.sdk import configure, logs, shutdown
from rushes.settings import Settings

if TYPE_CHECKING:
    from rushes.studio.board import Board
    from rushes.studio.jobs import WorkerInfo

__all__ = ["AlreadyRunning", "CannotRun", "Supervisor"]

_LOG: Final = logs.get_logger("supervisor")
_POLL_S: Final = 0.1
_DRAIN_S: Final = 35.0  # a worker gives the job in hand 30 s, and its last telemetry 3
_LOOK_S: Final = 1.0
_STOP_S: Final = 10.0
_HEAD_START_S: Final = 4.0


class AlreadyRunning(Exception):  # noqa: N818 - says what is the case
    """Another `rushes up` works in the same data folder."""


class CannotRun(Exception):  # noqa: N818 - says what is the case
    """Something that the studio needs is not there."""


class Supervisor:
    """One control room and, with the studio, one gateway, one encode worker and the generate workers."""

    def __init__(
        self, settings: Settings, say: Callable[[str], None], on_line: Callable[[str], None] | None
    ) -> None:
        self._say = say
        self._settings: Final = settings.model_copy(
            update={
                "port": reserve(settings.host, settings.port, "--port"),
                "otlp_http_port": reserve(settings.host, settings.otlp_http_port, "--otlp-http-port"),
                "otlp_grpc_port": reserve(settings.host, settings.otlp_grpc_port, "--otlp-grpc-port"),
                **(
                    {"gateway_port": reserve(settings.host, settings.gateway_port, "--gateway-port")}
                    if settings.studio
                    else {}
                ),
            }
        )
        self._held = self._hold(settings.data_dir)
        self._told: list[str] = []
        self._board: Board | None = None
        logs_dir = settings.data_dir / "logs"
        logs_dir.mkdir(exist_ok=True)
        environment = self._environment()
        self._server = Child("server", ["server"], environment, logs_dir, on_line)
        self._gateway = Child("gateway", ["gateway"], environment, logs_dir, on_line)
        self._workers = [
            Child(
                f"{name}-{n}",
                ["worker", *arguments, "--id", f"{name}-{n}"],
                environment,
                logs_dir,
                on_line,
            )
            for name, count, *arguments in (
                ("encode", 1, "--role", "encode"),
                ("generate", settings.workers, "--role", "generate"),
                ("realtime", settings.realtime_workers, "--role", "generate", "--realtime"),
            )
            for n in range(count)
        ]

    @property
    def _children(self) -> list[Child]:
        return [self._server, *([self._gateway, *self._workers] if self._settings.studio else [])]

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT; returns the exit code. Raises CannotRun."""
        stop = stop_on_signals()
        try:
            self._run(stop)
        finally:
            self._stop()
        return 0

    def _run(self, stop: threading.Event) -> None:
        settings = self._settings
        os.environ.update({k: v for k, v in self._environment().items() if k.startswith("OTEL_")})
        configure(instance="supervisor", endpoint=self._otlp_endpoint, log_level=None)
        local.remove(settings.local_file)
        if settings.studio:
            from rushes.studio.secret_files import development_secret, hash_key, prompt_key

            # Made here, before the processes that share them start.
            for make in (development_secret, hash_key, prompt_key):
                make(settings)
        self._start([self._server])
        begun = time.monotonic()
        waiting = [child for child in self._children if child is not self._server]
        answered = False
        complete = False
        looked = begun
        while not stop.wait(_POLL_S):
            restarted = self._keep_running()
            # The studio's heavy imports would keep the first page waiting on a small machine.
            if waiting and (
                _ok(f"{self._url(settings.port)}/readyz") or time.monotonic() - begun > _HEAD_START_S
            ):
                self._start(waiting)
                waiting = []
            if not waiting and not answered and self._answers():
                answered = True
                self._write_local()
                self._announce()
            if not answered or (complete and not restarted and time.monotonic() - looked < _LOOK_S):
                continue
            looked = time.monotonic()
            if self._metrics() != self._told:  # a worker was started again, elsewhere
                self._write_local()
            if not complete and (complete := self._workers_loaded()):
                self._say("ready         the models are loaded")

    @staticmethod
    def _start(children: list[Child]) -> None:
        for child in children:
            child.start()
            _LOG.info("process.started", process=child.name, pid=child.pid)

    def _keep_running(self) -> bool:
        """Starts again what has ended; True if something was."""
        restarted = False
        for child in self._children:
            if not child.started:
                continue
            pid, code = child.pid, child.ended()
            if code is not None:
                _LOG.error(
                    "process.exited", process=child.name, pid=pid, exit_code=code, restarts=child.restarts
                )
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                self._say(f"{child.name} ended ({how}) and is started again; its log: {child.log_path}")
                if -code != signal.SIGKILL:  # a killed process's last lines say nothing of it
                    self._say(child.last_lines)
            if child.restart_if_due():
                restarted = True
                _LOG.info("process.started", process=child.name, pid=child.pid)
        return restarted

    def _answers(self) -> bool:
        urls = [self._url(self._settings.port)]
        if self._settings.studio:
            urls.append(self._url(self._settings.gateway_port))
        return all(_ok(f"{url}/readyz") for url in urls) and len(self._metrics()) == len(self._children)

    def _workers_loaded(self) -> bool:
        if not self._settings.studio:
            return True
        states = {w.worker_id: w.state for w in self._told_workers()}
        return all(states.get(w.name) in {"idle", "generating"} for w in self._workers)

    def _metrics(self) -> list[str]:
        """Every /metrics URL; fewer than processes while some have not told theirs yet."""
        urls = [f"{self._url(self._settings.port)}/metrics"]
        if self._settings.studio:
            urls.append(f"{self._url(self._settings.gateway_port)}/metrics")
            urls.extend(w.metrics for w in self._told_workers() if w.metrics)
        return urls

    def _told_workers(self) -> list[WorkerInfo]:
        """Our workers, as they say to be."""
        if self._board is None:
            from rushes.studio.board import Board
            from rushes.studio.jobs import DatabaseUnreachableError, FileLiveness, Workers, open_database

            settings = self._settings
            try:
                workers = Workers(open_database(settings.jobs_url))
            except DatabaseUnreachableError as error:
                raise CannotRun(str(error)) from None
            liveness = FileLiveness(settings.workers_dir)
            self._board = Board(workers, liveness, lease_s=settings.worker_lease_s)
        ours = {(w.name, w.pid) for w in self._workers}
        return [w for w in self._board.workers() if (w.worker_id, w.pid) in ours]

    def _write_local(self) -> None:
        settings = self._settings
        self._told = self._metrics()
        key = None
        if settings.studio:
            from rushes.studio.secret_files import development_secret

            key = development_secret(settings)
        local.write(
            settings.local_file,
            local.Local(
                ui=self._url(settings.port),
                gateway=self._url(settings.gateway_port) if settings.studio else None,
                otlp_http=self._url(settings.otlp_http_port),
                otlp_grpc=self._url(settings.otlp_grpc_port),
                metrics=self._told,
                pid=os.getpid(),
                api_key=key,
            ),
        )

    def _announce(self) -> None:
        settings = self._settings
        self._say(f"control room  {self._url(settings.port)}")
        if settings.studio:
            self._say(f"studio        {self._url(settings.gateway_port)}/v1  (OpenAI's Videos API)")
        self._say(
            f"OTLP          {self._url(settings.otlp_http_port)} (HTTP), port {settings.otlp_grpc_port} (gRPC)"
        )
        self._say(f"data          {settings.data_dir}  (local.json has the addresses and a development key)")
        if settings.studio:
            self._say('try           rushes generate "a blue square moves left" --model OPENSORA')

    def _stop(self) -> None:
        """New work first stops coming, then the work in hand is finished, then its telemetry's home goes."""
        self._say("stopping")
        local.remove(self._settings.local_file)
        if self._settings.studio:
            self._gateway.terminate()
            for worker in self._workers:
                worker.terminate()
            self._gateway.wait(_STOP_S)
            deadline = time.monotonic() + _DRAIN_S  # for all of them together
            for worker in self._workers:
                worker.wait(max(0.0, deadline - time.monotonic()))
        shutdown()
        self._server.terminate()
        self._server.wait(_STOP_S)
        self._held.close()

    def _url(self, port: int) -> str:
        host = self._settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def _otlp_endpoint(self) -> str:
        """Where the platform's own telemetry goes: our control room, unless the settings name another."""
        return self._settings.otlp_endpoint or self._url(self._settings.otlp_http_port)

    def _environment(self) -> dict[str, str]:
        """The settings as the children read them: what flags and rushes.toml said reaches them unchanged."""
        settings = self._settings
        values = {
            name: value
            for name, value in settings.model_dump(mode="json").items()
            if value is not None and name not in {"token", "veo"}  # secrets are not dumped
        }
        environment = {
            f"RUSHES_{name.upper()}": json.dumps(value) if isinstance(value, dict | list) else str(value)
            for name, value in values.items()
        }
        if settings.token:
            token = settings.token.get_secret_value()
            environment["RUSHES_TOKEN"] = token
            if settings.otlp_endpoint is None:  # our own control room; nobody else's is told
                given = os.environ.get("OTEL_EXPORTER_OTLP_HEADERS")
                ours = f"authorization=Bearer%20{quote(token)}"
                environment["OTEL_EXPORTER_OTLP_HEADERS"] = f"{given},{ours}" if given else ours
        veo = settings.veo.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        if settings.veo.api_key:
            veo["api_key"] = settings.veo.api_key.get_secret_value()
        environment["RUSHES_VEO"] = json.dumps(veo)
        environment["RUSHES_OTLP_ENDPOINT"] = self._otlp_endpoint
        return environment

    @staticmethod
    def _hold(folder: Path) -> IO[str]:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / "up.lock").open("a+")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            raise AlreadyRunning(
                f"another `rushes up` runs on {folder}; stop it, or give this one its own --data-dir"
            ) from None
        return held


def _ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200  # noqa: PLR2004 - OK
    except httpx.HTTPError:
        return False
