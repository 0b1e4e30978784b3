"""Finds the jobs that nobody works on any more, and puts them back on their queues: no video is lost with its worker.

Those are the jobs of workers that died, of workers that hang, and the strays: jobs whose worker lives and has let go
of them, because the database refused it when it claimed, passed on or ended them. A job on which worker after worker
is lost is failed in the end.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from rushes.studio.jobs.job import MAX_RECOVERIES, JobState
from rushes.studio.jobs.liveness import pid_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rushes.studio.jobs.job import Job, Stage
    from rushes.studio.jobs.liveness import Liveness
    from rushes.studio.jobs.queue import Submitter
    from rushes.studio.jobs.store import JobStore

_log = logging.getLogger(__name__)


class Reaper:
    """Looks for lost jobs again and again in a thread of its own; `sweep` is one look."""

    def __init__(
        self,
        store: JobStore,
        submitter: Submitter,
        liveness: Liveness,
        *,
        on_lost: Callable[[Job], None],
        on_recovered: Callable[[Job, Stage], None] = lambda *_: None,
        on_gone: Callable[[Job], None] = lambda _: None,
        on_hung: Callable[[Job], None] = lambda _: None,
        interval_s: float = 1.0,
        stray_grace_s: float = 30.0,
        hung_after_s: float = 900.0,
        unknown_is_dead: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        store: the jobs.
        submitter: their queues.
        liveness: tells which workers live.
        on_lost: gets each job that was marked failed, once, as it is afterwards; what it raises is logged.
        on_recovered: gets each job that went back to its queue, as it was in the lost worker's hands, and the
            stage that accounts for its time until then.
        on_gone: gets a job whose worker is found dead or hanging, before the job is taken from it.
        on_hung: gets a job whose worker does not get on with it, after `on_gone`: the moment to end that process.
        interval_s: seconds between two looks.
        stray_grace_s: how long a job must be seen in one state and on no queue before it counts as stray.
        hung_after_s: how long a worker may do nothing that shows before it counts as hung.
        unknown_is_dead: whether a worker that `liveness` knows nothing about is dead. By default only with
            SQLite, whose workers are all on this host.
        clock: seconds that never go back.
        """
        self._store = store
        self._submitter = submitter
        self._liveness = liveness
        self._on_lost = on_lost
        self._on_recovered = on_recovered
        self._on_gone = on_gone
        self._on_hung = on_hung
        self._interval_s = interval_s
        self._stray_grace_s = stray_grace_s
        self._hung_after_s = hung_after_s
        self._unknown_is_dead = (
            store.engine.dialect.name == "sqlite" if unknown_is_dead is None else unknown_is_dead
        )
        self._clock = clock
        self._strays: dict[tuple[str, JobState], float] = {}  # and since when they are
        self._shown: dict[tuple[str, int], tuple[object, float]] = {}  # what a held job shows, and since when
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
        """Puts back the jobs whose worker is dead, hangs, or has let go of them; returns those that it failed."""
        held = self._store.held_by_workers()
        self._watch(held)
        failed = [lost for job in held if (lost := self._look_at(job))]
        for taken in self._submitter.dequeued():
            if not self._dead(taken.executor_id):
                continue
            job = self._store.get(taken.job_id)
            if job is not None and job.attempt == taken.attempt and not job.terminal:
                self._submitter.requeue(taken)  # not begun: nobody has claimed it since
            else:
                self._submitter.drop(taken)
        return failed + self._end_strays()

    def _watch(self, held: list[Job]) -> None:
        """Notes since when each job shows what it shows."""
        now, before = self._clock(), self._shown
        self._shown = {}
        for job in held:
            shows = (job.state, job.step, len(job.stages), job.media, job.alive_ns)
            showed, since = before.get((job.id, job.attempt), (None, now))
            self._shown[job.id, job.attempt] = shows, since if shows == showed else now

    def _look_at(self, job: Job) -> Job | None:
        _, since = self._shown[job.id, job.attempt]
        if self._dead(job.executor_id):
            code, did = "worker_lost", "died"
        elif self._clock() - since >= self._hung_after_s:
            code, did = "worker_hung", f"did nothing for {self._hung_after_s:g} s"
        else:
            return None
        pid = pid_of(job.executor_id)
        who = f"worker {job.worker_id}" + (f" (pid {pid})" if pid is not None else "")
        progress = f", at step {job.step} of {job.steps}" if job.state == JobState.GENERATING else ""
        message = f"{who} {did} while {_DOING[job.state]}{progress}; submit the video again"
        self._tell(self._on_gone, job)
        if code == "worker_hung":
            self._tell(self._on_hung, job)
        return self._recover(job, code=code, message=message)

    def _end_strays(self) -> list[Job]:
        now = self._clock()
        unfinished = self._store.unfinished()
        active = self._submitter.active() if unfinished else set()
        # By state as well: a job that is just passing from one queue to the other begins its grace anew.
        self._strays = {stray: self._strays.get(stray, now) for stray in unfinished if stray[0] not in active}
        failed = []
        for (job_id, state), since in self._strays.items():
            if now - since < self._stray_grace_s:
                continue
            if state in _ON_A_QUEUE:
                self._submitter.forget(job_id)  # an ended workflow's id can't be used again
                if self._store.requeue(job_id, state, self._submitter.enqueue):
                    _log.warning("%s was %s and on no queue; it was enqueued again", job_id, state)
            else:
                job = self._store.get(job_id)
                message = f"internal error while {_DOING[state]}; submit the video again"
                if job is not None and (lost := self._recover(job, code="internal_error", message=message)):
                    failed.append(lost)
        return failed

    def _dead(self, executor_id: str | None) -> bool:
        if executor_id is None:
            return True
        if self._liveness.alive(executor_id):
            return False
        return self._unknown_is_dead or self._liveness.known(executor_id)

    def _recover(self, job: Job, *, code: str, message: str) -> Job | None:
        """Puts a job back on its queue; or fails it, and returns it, after too many times."""
        if job.recoveries >= MAX_RECOVERIES:
            return self._fail(job.id, code=code, message=message)
        # It may have finished, or been cancelled, since it was read: then this changes nothing.
        stage = self._store.recover(job, self._submitter.enqueue)
        if stage is not None:
            self._tell(self._on_recovered, job, stage)
        return None

    def _fail(self, job_id: str, *, code: str, message: str) -> Job | None:
        failed = self._store.fail(job_id, code=code, message=message, reason="internal")
        if failed is not None:
            self._tell(self._on_lost, failed)
        return failed

    def _tell(self, listener: Callable[..., None], job: Job, *more: Stage) -> None:
        try:
            listener(job, *more)
        except Exception:  # noqa: BLE001 - a broken listener must not end the reaper
            _log.exception("telling of the lost job %s failed", job.id)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self.sweep()
            except Exception:  # noqa: BLE001 - the database may be back the next time
                _log.exception("looking for lost jobs failed; trying again in %g s", self._interval_s)


_ON_A_QUEUE: Final = (JobState.QUEUED, JobState.WAITING)

_DOING: Final = {
    JobState.ENCODING: "encoding the prompt",
    JobState.ASSIGNED: "preparing",
    JobState.GENERATING: "generating",
}
