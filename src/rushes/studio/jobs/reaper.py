"""Finds the jobs that nobody works on any more, and puts them back on their queues: no video is lost with its worker.

Those are the jobs of workers that died, that have not been heard of for longer than their lease, or that hang. A job
on which worker after worker is lost is failed in the end, and so is one that runs longer than its tier may.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from rushes.studio.jobs.job import MAX_RECOVERIES, Job, JobState, Stage
from rushes.studio.jobs.liveness import Liveness, pid_of
from rushes.studio.jobs.schedule import POLICIES, TierPolicy, policy_of
from rushes.studio.jobs.store import JobStore
from rushes.studio.jobs.workers import Workers

_log = logging.getLogger(__name__)

_BLOCKED_S: Final = 1.0  # a write that takes so long says that others can't write either
_FORGOTTEN_S: Final = 86_400.0
_OVERDUE_S: Final = 10.0  # a worker ends a job by itself when its time is up, if it comes to look


class Reaper:
    """Looks for lost jobs again and again in a thread of its own; `sweep` is one look."""

    def __init__(
        self,
        store: JobStore,
        workers: Workers,
        liveness: Liveness,
        *,
        on_lost: Callable[[Job], None],
        on_recovered: Callable[[Job, Stage], None] = lambda *_: None,
        on_gone: Callable[[Job], None] = lambda _: None,
        on_hung: Callable[[Job], None] = lambda _: None,
        interval_s: float = 1.0,
        lease_s: float = 15.0,
        hung_after_s: float = 900.0,
        policies: Mapping[str, TierPolicy] = POLICIES,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Args:
        store: the jobs.
        workers: what the workers say of themselves.
        liveness: tells which workers on this host live.
        on_lost: gets each job that was marked failed, once, as it is afterwards; what it raises is logged.
        on_recovered: gets each job that went back to its queue, as it was in the lost worker's hands, and the
            stage that accounts for its time until then.
        on_gone: gets a job whose worker is found dead or hanging, before the job is taken from it.
        on_hung: gets a job whose worker does not get on with it, after `on_gone`: the moment to end that process.
        interval_s: seconds between two looks.
        lease_s: how long a worker may say nothing before it counts as dead.
        hung_after_s: how long a worker may do nothing that shows before it counts as hung.
        policies: the tiers' time limits.
        clock: seconds that never go back.
        now_ns: Unix nanoseconds.
        """
        self._store = store
        self._workers = workers
        self._liveness = liveness
        self._on_lost = on_lost
        self._on_recovered = on_recovered
        self._on_gone = on_gone
        self._on_hung = on_hung
        self._interval_s = interval_s
        self._lease_s = lease_s
        self._hung_after_s = hung_after_s
        self._policies = policies
        self._clock = clock
        self._now_ns = now_ns
        self._shown: dict[tuple[str, int], tuple[object, float]] = {}  # what a held job shows, and since when
        self._seen: dict[str, tuple[int, float]] = {}  # each worker's last word, and since when it is that
        self._failed = False
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
        """Puts back the jobs whose worker is dead or hangs; returns those that it failed."""
        self._watch_workers()
        held = self._store.held_by_workers()
        self._watch(held)
        return [lost for job in held if (lost := self._look_at(job))]

    def _watch_workers(self) -> None:
        """Notes since when each worker says what it says, by this process' clock: theirs may differ.

        While the database refuses, nobody can say that he lives, and so all get their time anew afterwards.
        """
        begun, refused = self._clock(), self._failed
        self._failed = True
        self._workers.forget(_FORGOTTEN_S)
        now = self._clock()
        before = {} if refused or now - begun >= _BLOCKED_S else self._seen
        self._seen = {}
        for worker in self._workers.all():
            said, since = before.get(worker.executor_id, (None, now))
            self._seen[worker.executor_id] = worker.seen_ns, since if worker.seen_ns == said else now
        self._failed = False

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
        if (died := self._dead(job.executor_id)) is not None:
            code, did = "worker_lost", died
        elif self._clock() - since >= self._hung_after_s:
            code, did = "worker_hung", f"did nothing for {self._hung_after_s:g} s"
        else:
            return self._end_overdue(job)
        pid = pid_of(job.executor_id)
        who = f"worker {job.worker_id}" + (f" (pid {pid})" if pid is not None else "")
        progress = f", at step {job.step} of {job.steps}" if job.state == JobState.GENERATING else ""
        message = f"{who} {did} while {_DOING[job.state]}{progress}; submit the video again"
        self._tell(self._on_gone, job)
        if code == "worker_hung":
            self._tell(self._on_hung, job)
        return self._recover(job, code=code, message=message)

    def _end_overdue(self, job: Job) -> Job | None:
        limit_s = policy_of(job.tier, self._policies).time_limit_s
        if limit_s is None or job.state is JobState.ENCODING or job.assigned_ns is None:
            return None
        if (self._now_ns() - job.assigned_ns) / 1e9 < limit_s + _OVERDUE_S:
            return None
        message = f"the video took longer than the {limit_s:g} s that tier {job.tier} allows"
        return self._fail(job, code="time_limit_exceeded", message=message, reason="timeout")

    def _dead(self, executor_id: str | None) -> str | None:
        """What became of a worker process that lives no more; None if it lives."""
        if executor_id is None:
            return "vanished"
        alive = self._liveness.alive(executor_id)
        said = self._seen.get(executor_id)
        if not alive and (said is None or self._liveness.known(executor_id)):
            return "died"
        if said is not None and self._clock() - said[1] >= self._lease_s:
            return f"was not heard of for {self._lease_s:g} s"
        return None

    def _recover(self, job: Job, *, code: str, message: str) -> Job | None:
        """Puts a job back on its queue; or fails it, and returns it, after too many times."""
        if job.recoveries >= MAX_RECOVERIES:
            return self._fail(job, code=code, message=message, reason="internal")
        # It may have finished, or been cancelled, since it was read: then this changes nothing.
        stage = self._store.recover(job)
        if stage is not None:
            self._tell(self._on_recovered, job, stage)
        return None

    def _fail(self, job: Job, *, code: str, message: str, reason: str) -> Job | None:
        failed = self._store.fail(job.id, code=code, message=message, reason=reason, held=job)
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
            except Exception as error:  # noqa: BLE001 - the database may be back the next time
                self._failed = True
                _log.error("looking for lost jobs raised %s; trying again", type(error).__name__)


_DOING: Final = {
    JobState.ENCODING: "encoding the prompt",
    JobState.ASSIGNED: "preparing",
    JobState.GENERATING: "generating",
}
