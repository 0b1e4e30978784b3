"""Runs a worker process: takes jobs off its role's queues, one at a time, and hands them to their handlers.

A job is claimed by compare-and-set before its handler sees it, so that it is worked on once, however often the
queue delivers it; and it is never left unfinished by a handler that raised. A database that refuses for a moment is
asked again; if it goes on refusing, the reaper finds the job.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rushes.studio.jobs.job import JobState, Stage
from rushes.studio.jobs.liveness import WorkerLock
from rushes.studio.jobs.patience import patiently
from rushes.studio.jobs.queue import APPLICATION, APPLICATION_VERSION, QUEUES, QueueName, Submitter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rushes.studio.jobs.job import Job
    from rushes.studio.jobs.store import JobStore

Role = Literal["encode", "generate", "all"]

Handler: TypeAlias = "Callable[[Job], bool | None]"
"""Does a job's part, given the job in this worker's hands. `encode` returns True for a job that may be rendered."""

_log = logging.getLogger(__name__)

_ROLE_QUEUES: Final[dict[Role, tuple[QueueName, ...]]] = {
    "encode": ("encode",),
    "generate": ("generate",),
    "all": QUEUES,
}
_SETTLE_S: Final = 0.2  # what was being taken off a queue when the worker was told to stop
_PAUSE_S: Final = 0.05


def run_worker(
    role: Role,
    handlers: Mapping[str, Handler],
    *,
    store: JobStore,
    lock: WorkerLock,
    stop: threading.Event,
    on_ready: Callable[[], None] | None = None,
    on_failed: Callable[[Job, BaseException | None], None] | None = None,
    on_left: Callable[[Job, Stage], None] | None = None,
    drain_s: float = 60.0,
) -> None:
    """Works until `stop` is set, then finishes the job in hand and returns. One call a process at a time.

    Args:
        role: which queues to work on.
        handlers: "encode" and "generate", as far as the role needs them. They are called, in a thread, with the
            job that this worker has just claimed (state encoding or assigned). `encode` returns True when the
            job is to be rendered, after which it is enqueued for that; or it ends the job itself. `generate`
            ends the job.
        store: the jobs.
        lock: the worker's, held by the caller for as long as the process calls itself this worker.
        stop: ends the worker.
        on_ready: called once jobs are being taken.
        on_failed: called with a job that was failed here because its handler raised or the database refused to
            have it claimed or passed on (the error), or because its handler returned without having ended it
            (None).
        on_left: called with a job that went back to its queue, since the worker had to end before it was done,
            and with the stage that accounts for its time until then.
        drain_s: how long the job in hand may take after `stop`.

    Raises:
        ValueError: a handler of the role is missing.
    """
    queues = _ROLE_QUEUES[role]
    if missing := [queue for queue in queues if queue not in handlers]:
        msg = f"role {role} needs a handler for {' and '.join(missing)}"
        raise ValueError(msg)
    worker = _Worker(handlers, store, lock, stop, on_failed=on_failed, on_left=on_left)
    try:
        worker.serve(queues, on_ready, drain_s)
    finally:
        worker.close()


class _Worker:
    def __init__(
        self,
        handlers: Mapping[str, Handler],
        store: JobStore,
        lock: WorkerLock,
        stop: threading.Event,
        *,
        on_failed: Callable[[Job, BaseException | None], None] | None = None,
        on_left: Callable[[Job, Stage], None] | None = None,
    ) -> None:
        self._handlers = handlers
        self._store = store
        self._lock = lock
        self._on_failed = on_failed
        self._on_left = on_left
        self._stop = stop
        self._submitter = Submitter(store.engine)
        self._busy = 0
        self._busy_lock = threading.Lock()
        # A queue's worker_concurrency bounds what is taken, but the next poll may come before a job that was
        # taken shows as running: two at once would mix in the model.
        self._turns = {queue: threading.Lock() for queue in QUEUES}

    def serve(
        self,
        queues: tuple[QueueName, ...],
        on_ready: Callable[[], None] | None,
        drain_s: float,
    ) -> None:
        from dbos import DBOS

        dbos = DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": self._store.engine,
                # Unique: with a shared one, a starting worker would steal the jobs of the living.
                "executor_id": self._lock.executor_id,
                "application_version": APPLICATION_VERSION,
                "log_level": "WARNING",
                "enable_otlp": False,
            }
        )
        try:
            self._register()
            DBOS.listen_queues(queues)
            DBOS.launch()
            if on_ready is not None:
                on_ready()
            self._stop.wait()
            for event in dbos.background_thread_stop_events:
                event.set()
            self._drain(drain_s)
            self._give_up_in_hand()
        finally:
            DBOS.destroy(destroy_registry=True)

    def close(self) -> None:
        self._submitter.close()

    def _drain(self, drain_s: float) -> None:
        time.sleep(_SETTLE_S)
        deadline = time.monotonic() + drain_s
        while self._busy and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)

    def _give_up_in_hand(self) -> None:
        """Puts back what is still being worked on: the process ends, and another goes on with it."""
        for job in self._store.held_by_workers():
            if job.executor_id == self._lock.executor_id:
                self._leave(job)

    def _leave(self, job: Job) -> None:
        stage = self._store.recover(job, self._submitter.enqueue, lost=False)
        if stage is not None and self._on_left is not None:
            self._on_left(job, stage)

    def _register(self) -> None:
        """Gives DBOS the two workflows, by the names under which `Submitter` enqueues them."""
        from dbos import DBOS

        @DBOS.workflow(name="encode")
        def encode(job_id: str) -> None:
            self._step("encode", job_id)

        @DBOS.workflow(name="generate")
        def generate(job_id: str) -> None:
            self._step("generate", job_id)

    def _step(self, name: QueueName, job_id: str) -> None:
        from dbos import DBOS

        with self._busy_lock:
            self._busy += 1
        try:
            with self._turns[name]:
                DBOS.run_step({"name": name}, self._work, name, job_id)
        finally:
            with self._busy_lock:
                self._busy -= 1

    def _work(self, name: QueueName, job_id: str) -> None:
        """Does the job's part. It raises nothing: DBOS would store what is raised, with its text, in clear."""
        store, lock = self._store, self._lock
        claim = store.claim_encoding if name == "encode" else store.claim_generation
        error: Exception | None = None
        job: Job | None = None
        try:
            job = patiently(lambda: claim(job_id, worker_id=lock.worker_id, executor_id=lock.executor_id))
            if job is None:
                return  # cancelled meanwhile
            held = job
            may_be_rendered = self._handlers[name](held)
            if name == "encode" and may_be_rendered:
                patiently(lambda: store.enqueue_generation(held, self._submitter.enqueue))
                return
        except Exception as raised:  # noqa: BLE001 - see above
            # Not its text here either: an error of a tokenizer may quote the prompt.
            _log.error("%s of %s raised %s", name, job_id, type(raised).__name__)
            error = raised
        try:
            failed = patiently(lambda: self._fail_unfinished(job_id, job))
            if failed is not None and self._on_failed is not None:
                self._on_failed(failed, error)
        except Exception as raised:  # noqa: BLE001 - as above; the reaper will end the job
            _log.error("ending %s raised %s", job_id, type(raised).__name__)

    def _fail_unfinished(self, job_id: str, held: Job | None) -> Job | None:
        """Fails a job that is left unfinished; None if it is not. Once the worker ends, it goes back instead."""
        job = self._store.get(job_id)
        if job is None or job.terminal or (held is not None and job.attempt != held.attempt):
            return None
        if self._stop.is_set() and held is not None:
            self._leave(job)
            return None
        doing = "encoding the prompt" if job.state in {JobState.QUEUED, JobState.ENCODING} else "generating"
        message = f"internal error while {doing}; submit the video again"
        return self._store.fail(job_id, code="internal_error", message=message, reason="internal", held=held)
