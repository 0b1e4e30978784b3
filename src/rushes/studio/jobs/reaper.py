"""Ends the jobs of workers that died: without it they would stay "generating" for ever and keep their credits."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from rushes.studio.jobs.job import JobState
from rushes.studio.jobs.liveness import pid_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rushes.studio.jobs.job import Job
    from rushes.studio.jobs.liveness import Liveness
    from rushes.studio.jobs.queue import Submitter
    from rushes.studio.jobs.store import JobStore

_log = logging.getLogger(__name__)

_NOT_BEGUN: Final = {"encode": JobState.QUEUED, "generate": JobState.WAITING}
"""The state in which a job still is if a worker took it off the queue and did nothing more."""


class Reaper:
    """Looks for lost jobs again and again in a thread of its own; `sweep` is one look."""

    def __init__(
        self,
        store: JobStore,
        submitter: Submitter,
        liveness: Liveness,
        *,
        on_lost: Callable[[Job], None],
        interval_s: float = 1.0,
    ) -> None:
        """`on_lost` gets each job that was marked failed, as it is afterwards; what it raises is logged."""
        self._store = store
        self._submitter = submitter
        self._liveness = liveness
        self._on_lost = on_lost
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rushes-reaper", daemon=True)

    def start(self) -> None:
        """Begins to look, every `interval_s`."""
        self._thread.start()

    def stop(self) -> None:
        """Stops, after the look that is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def sweep(self) -> list[Job]:
        """Fails the jobs whose worker is dead, and requeues those it had not begun; returns the failed ones."""
        lost = [failed for job in self._store.held_by_workers() if (failed := self._fail_if_lost(job))]
        for taken in self._submitter.dequeued():
            if taken.executor_id is not None and self._liveness.alive(taken.executor_id):
                continue
            job = self._store.get(taken.job_id)
            if job is not None and job.state == _NOT_BEGUN.get(taken.queue):
                self._submitter.requeue(taken.job_id, taken.queue)
            elif job is None or job.executor_id == taken.executor_id or job.terminal:
                self._submitter.drop(taken.job_id, taken.queue)
        return lost

    def _fail_if_lost(self, job: Job) -> Job | None:
        if job.executor_id is not None and self._liveness.alive(job.executor_id):
            return None
        pid = pid_of(job.executor_id)
        who = f"worker {job.worker_id}" + (f" (pid {pid})" if pid is not None else "")
        progress = f", at step {job.step} of {job.steps}" if job.state == JobState.GENERATING else ""
        message = f"{who} died while {_DOING[job.state]}{progress}; submit the video again"
        # It may have finished, or been cancelled, since it was read: then this changes nothing.
        if not self._store.fail(job.id, code="worker_lost", message=message, reason="internal"):
            return None
        failed = self._store.get(job.id)
        if failed is not None:
            try:
                self._on_lost(failed)
            except Exception:  # noqa: BLE001 - a broken listener must not end the reaper
                _log.exception("telling of the lost job %s failed", job.id)
        return failed

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self.sweep()
            except Exception:  # noqa: BLE001 - the database may be back the next time
                _log.exception("looking for lost jobs failed; trying again in %g s", self._interval_s)


_DOING: Final = {
    JobState.ENCODING: "encoding the prompt",
    JobState.ASSIGNED: "preparing",
    JobState.GENERATING: "generating",
}
