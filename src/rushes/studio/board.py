"""What each worker is doing, written by the worker beside its lock file and read by whoever shows or scrapes it.

A file's word counts only while its worker lives: a killed worker is offline, whatever it wrote last.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from rushes.catalog import WORKER_STATES
from rushes.studio.jobs import FileLiveness

__all__ = ["Board", "WorkerInfo"]

State = Literal["loading", "idle", "generating", "draining", "offline"]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker: `metrics` is the URL of its /metrics, `devices` the GPUs it works on, as CUDA_VISIBLE_DEVICES."""

    worker_id: str
    role: str
    executor_id: str
    pid: int
    state: State
    metrics: str
    devices: str = ""


class Board:
    """The workers' state files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self._liveness: Final = FileLiveness(folder)

    def publish(self, info: WorkerInfo) -> None:
        """Replaces the worker's file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{info.worker_id}.json"
        part = path.with_suffix(f".{secrets.token_hex(4)}.part")
        part.write_text(json.dumps(asdict(info)))
        part.replace(path)

    def withdraw(self, worker_id: str) -> None:
        """Forgets a worker that ended in order."""
        (self._folder / f"{worker_id}.json").unlink(missing_ok=True)

    def workers(self) -> list[WorkerInfo]:
        """All workers that have not ended in order; those that died are offline."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                info = WorkerInfo(**json.loads(path.read_text()))
            except (OSError, ValueError, TypeError):
                continue  # replaced or withdrawn this moment
            if not self._liveness.alive(info.executor_id):
                info = WorkerInfo(**{**asdict(info), "state": "offline", "metrics": ""})
            found.append(info)
        return found

    def count(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """Observations for worker_count_total."""
        workers = self.workers()
        return [(sum(w.state == state for w in workers), {"status": state}) for state in WORKER_STATES]

    def status(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """Observations for gpu_worker_status."""
        return [
            (float(held), {"worker_id": w.worker_id, "status": status})
            for w in self.workers()
            for status, held in (
                *((state, w.state == state) for state in WORKER_STATES),
                ("healthy", w.state != "offline"),
            )
        ]
