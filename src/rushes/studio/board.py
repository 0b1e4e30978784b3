"""What each worker is doing, for whoever shows or scrapes it.

A worker's word counts only while it lives: a killed one is offline, whatever it wrote last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy.exc import OperationalError

from rushes.catalog import WORKER_STATES
from rushes.studio.jobs import Liveness, WorkerInfo, Workers

__all__ = ["Board"]


class Board:
    """The workers of one database: those on this host by their locks, all by how long they have been silent."""

    def __init__(
        self,
        workers: Workers,
        liveness: Liveness,
        *,
        lease_s: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._workers: Final = workers
        self._liveness: Final = liveness
        self._lease_ns: Final = round(lease_s * 1e9)
        self._clock: Final = clock
        self._last: list[WorkerInfo] = []

    def workers(self) -> list[WorkerInfo]:
        """All workers that have not ended in order; those that died are offline. As of last time, if the database
        refuses.
        """
        try:
            found = self._workers.all()
        except OperationalError:
            found = self._last
        self._last = found
        return [info if self._lives(info) else replace(info, state="offline", metrics="") for info in found]

    def _lives(self, info: WorkerInfo) -> bool:
        if self._clock() - info.seen_ns > self._lease_ns:
            return False
        return self._liveness.alive(info.executor_id) or not self._liveness.known(info.executor_id)

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
