"""Who is alive: each worker process holds a lock on a file for its life, and the kernel lets go when it dies.

A lock needs no heartbeat and no timeout: it can neither expire under a busy worker nor outlive a killed one.
It works on one host; of a worker on another one its row alone tells (see `workers`), and that needs a lease.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

_WORKER_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_EXECUTOR_ID: Final = re.compile(r"(?P<worker>[A-Za-z0-9][A-Za-z0-9_-]{0,63})\.(?P<pid>[0-9]+)\.[0-9a-f]{8}")
_REMEMBERED: Final = 20
_ACQUIRE_ATTEMPTS: Final = 20
_ACQUIRE_PAUSE_S: Final = 0.05


class WorkerBusyError(Exception):
    """Another living process has this worker id."""


class Liveness(Protocol):
    """Tells living worker processes from dead ones."""

    def alive(self, executor_id: str) -> bool:
        """Whether the worker process `executor_id` still runs."""

    def known(self, executor_id: str) -> bool:
        """Whether there is anything to judge that process by; of one on another host there may be nothing."""


class WorkerLock:
    """Holds a worker's lock file until `release`, or the process' end."""

    def __init__(self, workers_dir: Path, worker_id: str, role: str) -> None:
        """Takes the lock and writes who holds it into the file.

        Args:
            workers_dir: where the lock files are; made if need be.
            worker_id: letters, digits, "-" and "_", 64 at most.
            role: encode, generate or all.

        Raises:
            ValueError: `worker_id` is not of that form.
            WorkerBusyError: another process holds it.
        """
        if _WORKER_ID.fullmatch(worker_id) is None:
            msg = f"worker id {worker_id!r} must be 1 to 64 letters, digits, '-' or '_'"
            raise ValueError(msg)
        self.worker_id = worker_id
        self.executor_id = f"{worker_id}.{os.getpid()}.{secrets.token_hex(4)}"
        """Names this process among all that ever had the worker's id."""
        workers_dir.mkdir(parents=True, exist_ok=True)
        self._fd: int | None = os.open(_lock_path(workers_dir, worker_id), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._acquire(self._fd)
        except BaseException:
            os.close(self._fd)
            raise
        holder = {
            "pid": os.getpid(),
            "role": role,
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "executor_id": self.executor_id,
            # Those before it: its own lock says nothing about a worker of the same name on another host.
            "executors": [*_executors(_read_holder(self._fd)), self.executor_id][-_REMEMBERED:],
        }
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(holder).encode(), 0)

    def release(self) -> None:
        """Lets go; from now on the worker counts as dead."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _acquire(self, fd: int) -> None:
        # A look at whether we live holds the lock for a moment too, so one refusal says nothing.
        for _ in range(_ACQUIRE_ATTEMPTS):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_ACQUIRE_PAUSE_S)
            else:
                return
        holder = _read_holder(fd)
        msg = f"worker {self.worker_id} is already running (pid {holder.get('pid', 'unknown')}); choose another id"
        raise WorkerBusyError(msg)


class FileLiveness:
    """Reads the lock files of the workers on this host."""

    def __init__(self, workers_dir: Path) -> None:
        """`workers_dir` is where the workers' `WorkerLock`s are."""
        self._dir = workers_dir

    def alive(self, executor_id: str) -> bool:
        """Whether that very process holds its worker's lock: another one under the same worker id doesn't count."""
        match = _EXECUTOR_ID.fullmatch(executor_id)
        if match is None:
            return False
        try:
            fd = os.open(_lock_path(self._dir, match["worker"]), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_holder(fd).get("executor_id") == executor_id
        else:
            return False
        finally:
            os.close(fd)

    def known(self, executor_id: str) -> bool:
        """Whether that very process held a lock in this folder, as one of the last that had its worker's id."""
        match = _EXECUTOR_ID.fullmatch(executor_id)
        if match is None:
            return False
        try:
            fd = os.open(_lock_path(self._dir, match["worker"]), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return executor_id in _executors(_read_holder(fd))
        finally:
            os.close(fd)


def pid_of(executor_id: str | None) -> int | None:
    """The process id inside an executor id, None if it is none."""
    match = _EXECUTOR_ID.fullmatch(executor_id or "")
    return None if match is None else int(match["pid"])


def _lock_path(workers_dir: Path, worker_id: str) -> Path:
    return workers_dir / f"{worker_id}.lock"


def _executors(holder: dict[str, Any]) -> list[str]:
    listed = holder.get("executors")
    return listed if isinstance(listed, list) else []


def _read_holder(fd: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(fd, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}
