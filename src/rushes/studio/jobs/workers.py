"""The worker processes as they say to be: a row each, rewritten every second while they live.

The row is what a scheduler on another machine can know of a worker: whether it lives, what it does, which models
it has in memory.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

import sqlalchemy as sa

from rushes.studio.jobs.table import workers

__all__ = ["BEAT_S", "HOST", "Heartbeat", "WorkerInfo", "WorkerState", "Workers"]

WorkerState = Literal["loading", "idle", "generating", "draining", "offline"]

HOST: Final = socket.gethostname()
BEAT_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One worker process. Times are Unix nanoseconds by its own clock.

    Attributes:
        executor_id: names this process among all that ever had the worker's id.
        realtime: whether it takes realtime jobs only.
        since_ns: since when it is in its state.
        seen_ns: when it wrote this.
        warm: the models that it has in memory.
        devices: the GPUs that it works on, as CUDA_VISIBLE_DEVICES.
        metrics: the URL of its /metrics.
    """

    worker_id: str
    executor_id: str
    pid: int
    role: str
    state: WorkerState
    host: str = HOST
    realtime: bool = False
    since_ns: int = 0
    seen_ns: int = 0
    warm: tuple[str, ...] = ()
    devices: str = ""
    metrics: str = ""


class Workers:
    """The workers of one database. Every method may be called from any thread of any process."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], int] = time.time_ns) -> None:
        self._engine: Final = engine
        self._clock: Final = clock

    def publish(self, info: WorkerInfo) -> None:
        """Writes the worker's row, in place of the one that its predecessor of that name on this host left."""
        values = _values(replace(info, seen_ns=self._clock()))
        mine = workers.c.executor_id == info.executor_id
        with self._engine.begin() as conn:
            if conn.execute(sa.update(workers).where(mine).values(values)).rowcount:
                return
            conn.execute(
                sa.delete(workers).where(workers.c.worker_id == info.worker_id, workers.c.host == info.host)
            )
            conn.execute(sa.insert(workers).values(values))

    def withdraw(self, executor_id: str) -> None:
        """Forgets a worker that ended in order."""
        with self._engine.begin() as conn:
            conn.execute(sa.delete(workers).where(workers.c.executor_id == executor_id))

    def forget(self, unseen_s: float) -> None:
        """Forgets the workers that have not been seen for so long."""
        before = self._clock() - round(unseen_s * 1e9)
        with self._engine.begin() as conn:
            conn.execute(sa.delete(workers).where(workers.c.seen_ns < before))

    def all(self) -> list[WorkerInfo]:
        """All that have not ended in order, as they were seen last, living or not."""
        with self._engine.connect() as conn:
            return [info_of(row) for row in conn.execute(sa.select(workers).order_by(workers.c.worker_id))]


class Heartbeat:
    """Says every second that a worker lives, in a thread of its own. `publish` is told to raise nothing."""

    def __init__(self, publish: Callable[[], None], every_s: float = BEAT_S) -> None:
        self._publish: Final = publish
        self._every_s: Final = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rushes-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._publish()


def info_of(row: sa.Row[Any]) -> WorkerInfo:
    """A row as a worker."""
    return WorkerInfo(**dict(row._mapping) | {"warm": tuple(json.loads(row.warm))})  # noqa: SLF001 - its public name


def _values(info: WorkerInfo) -> dict[str, Any]:
    return {column.name: getattr(info, column.name) for column in workers.columns} | {
        "warm": json.dumps(info.warm)
    }
