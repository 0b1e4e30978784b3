"""A worker's row among the workers: what it does, said at each change and every second.

Saying it never fails the work: a database that is away leaves the last word standing, and once the worker has been
silent for longer than its lease, its jobs go to others.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from rushes.sdk import logs
from rushes.studio.jobs import Job, WorkerInfo, Workers, WorkerState

__all__ = ["Presence"]

_LOG: Final = logs.get_logger("worker")


class Presence:
    """One worker, as it shows itself. May be told of changes from any thread."""

    def __init__(
        self, workers: Workers, info: WorkerInfo, warm: Callable[[], Collection[str]], stop: threading.Event
    ) -> None:
        """`info` is the worker while it loads, `warm` asks which models are in memory, `stop` ends the worker."""
        self._workers: Final = workers
        self._warm: Final = warm
        self._stop: Final = stop
        self._info = replace(info, since_ns=time.time_ns())
        self._ready = False
        self._busy = 0
        self._lock = threading.Lock()

    def ready(self) -> None:
        """Jobs are being taken."""
        self._ready = True
        self.say()
        _LOG.info("worker.started", worker_role=self._info.role, pid=os.getpid())

    def during(self, work: Callable[[Job], bool | None]) -> Callable[[Job], bool | None]:
        """The handler, with the worker shown as generating while it runs; a worker of both roles may run two."""

        def handle(job: Job) -> bool | None:
            self._count(1)
            try:
                return work(job)
            finally:
                self._count(-1)

        return handle

    def say(self) -> None:
        """Writes the row."""
        with self._lock:
            state = self._state()
            if state != self._info.state:
                self._info = replace(self._info, state=state, since_ns=time.time_ns())
                _LOG.debug("worker.status.changed", status=state)
            self._info = replace(self._info, warm=tuple(sorted(self._warm())))
            try:
                self._workers.publish(self._info)
            except SQLAlchemyError as error:
                _LOG.error(
                    "log.message", error=f"the worker's state can't be written ({type(error).__name__})"
                )

    def _count(self, change: int) -> None:
        with self._lock:
            self._busy += change
        self.say()

    def _state(self) -> WorkerState:
        if self._stop.is_set():
            return "draining"
        if not self._ready:
            return "loading"
        return "generating" if self._busy else "idle"
