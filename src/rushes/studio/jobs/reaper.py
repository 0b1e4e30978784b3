"""Ends the jobs that nobody would end: without it they would stay "generating" for ever and keep their credits.

Those are the jobs of workers that died, and the strays: jobs whose worker lives and has let go of them, because the
database refused it when it claimed, passed on or ended them.
"""

from __future__ import annotations

import logging
import threading
import time
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
        stray_grace_s: float = 30.0,
        unknown_is_dead: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        store: the jobs.
        submitter: their queues.
        liveness: tells which workers live.
        on_lost: gets each job that was marked failed, once, as it is afterwards; what it raises is logged.
        interval_s: seconds between two looks.
        stray_grace_s: how long a job must be seen in one state and on no queue before it counts as stray.
        unknown_is_dead: whether a worker that `liveness` knows nothing about is dead. By default only with
            SQLite, whose workers are all on this host.
        clock: seconds that never go back.
        """
        self._store = store
        self._submitter = submitter
        self._liveness = liveness
        self._on_lost = on_lost
        self._interval_s = interval_s
        self._stray_grace_s = stray_grace_s
        self._unknown_is_dead = (
            store.engine.dialect.name == "sqlite" if unknown_is_dead is None else unknown_is_dead
        )
        self._clock = clock
        self._strays: dict[tuple[str, JobState], float] = {}  # and since when they are
        self._enqueue = {
            JobState.QUEUED: submitter.enqueue_encode,
            JobState.WAITING: submitter.enqueue_generate,
        }
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
        """Fails the jobs whose worker is dead, or has let go of them, and requeues those that it had not begun.

        Returns the failed ones.
        """
        lost = [failed for job in self._store.held_by_workers() if (failed := self._fail_if_lost(job))]
        for taken in self._submitter.dequeued():
            if not self._dead(taken.executor_id):
                continue
            job = self._store.get(taken.job_id)
            if job is not None and job.state == _NOT_BEGUN.get(taken.queue):
                self._submitter.requeue(taken.job_id, taken.queue)
            elif job is None or job.executor_id == taken.executor_id or job.terminal:
                self._submitter.drop(taken.job_id, taken.queue)
        return lost + self._end_strays()

    def _end_strays(self) -> list[Job]:
        now = self._clock()
        unfinished = self._store.unfinished()
        active = self._submitter.active() if unfinished else set()
        # By state as well: a job that is just passing from one queue to the other begins its grace anew.
        self._strays = {stray: self._strays.get(stray, now) for stray in unfinished if stray[0] not in active}
        lost = []
        for (job_id, state), since in self._strays.items():
            if now - since < self._stray_grace_s:
                continue
            if enqueue := self._enqueue.get(state):
                self._submitter.forget(job_id)  # an ended workflow's id can't be used again
                if self._store.requeue(job_id, state, enqueue):
                    _log.warning("%s was %s and on no queue; it was enqueued again", job_id, state)
            else:
                message = f"internal error while {_DOING[state]}; submit the video again"
                if failed := self._fail(job_id, code="internal_error", message=message):
                    lost.append(failed)
        return lost

    def _dead(self, executor_id: str | None) -> bool:
        if executor_id is None:
            return True
        if self._liveness.alive(executor_id):
            return False
        return self._unknown_is_dead or self._liveness.known(executor_id)

    def _fail_if_lost(self, job: Job) -> Job | None:
        if not self._dead(job.executor_id):
            return None
        pid = pid_of(job.executor_id)
        who = f"worker {job.worker_id}" + (f" (pid {pid})" if pid is not None else "")
        progress = f", at step {job.step} of {job.steps}" if job.state == JobState.GENERATING else ""
        message = f"{who} died while {_DOING[job.state]}{progress}; submit the video again"
        return self._fail(job.id, code="worker_lost", message=message)

    def _fail(self, job_id: str, *, code: str, message: str) -> Job | None:
        # It may have finished, or been cancelled, since it was read: then this changes nothing.
        failed = self._store.fail(job_id, code=code, message=message, reason="internal")
        if failed is not None:
            try:
                self._on_lost(failed)
            except Exception:  # noqa: BLE001 - a broken listener must not end the reaper
                _log.exception("telling of the lost job %s failed", job_id)
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
