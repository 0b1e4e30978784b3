"""Runs a worker process: takes jobs off its role's queues, one at a time, and hands them to their handlers.

A job is claimed by compare-and-set before its handler sees it, so that it is worked on once, however often the
queue delivers it; and it is never left unfinished by a handler that raised.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rushes.studio.jobs.job import JobState
from rushes.studio.jobs.liveness import WorkerLock
from rushes.studio.jobs.queue import APPLICATION, APPLICATION_VERSION, QUEUES, QueueName, Submitter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rushes.studio.jobs.job import Job
    from rushes.studio.jobs.store import JobStore

Role = Literal["encode", "generate", "all"]

Handler: TypeAlias = "Callable[[str], bool | None]"
"""Does a job's part, given its id. `encode` returns True for a job that may be rendered."""

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
    worker_id: str,
    workers_dir: Path,
    stop: threading.Event,
    on_ready: Callable[[str], None] | None = None,
    on_failed: Callable[[Job, BaseException | None], None] | None = None,
    drain_s: float = 60.0,
) -> None:
    """Works until `stop` is set, then finishes the job in hand and returns. One call a process at a time.

    Args:
        role: which queues to work on.
        handlers: "encode" and "generate", as far as the role needs them. They are called, in a thread, with the
            id of a job that this worker has just claimed (state encoding or assigned). `encode` returns True
            when the job is to be rendered, after which it is enqueued for that; or it ends the job itself.
            `generate` ends the job.
        store: the jobs.
        worker_id: such as "generate-0"; no two living workers have the same.
        workers_dir: where the workers' lock files are.
        stop: ends the worker.
        on_ready: called with the executor id once jobs are being taken.
        on_failed: called with a job that was failed here because its handler raised (the error) or returned
            without having ended it (None).
        drain_s: how long the job in hand may take after `stop`.

    Raises:
        ValueError: a handler of the role is missing, or `worker_id` is malformed.
        WorkerBusyError: a living worker has this id.
    """
    queues = _ROLE_QUEUES[role]
    if missing := [queue for queue in queues if queue not in handlers]:
        msg = f"role {role} needs a handler for {' and '.join(missing)}"
        raise ValueError(msg)
    with WorkerLock(workers_dir, worker_id, role) as lock:
        worker = _Worker(handlers, store, lock, on_failed)
        try:
            worker.serve(queues, stop, on_ready, drain_s)
        finally:
            worker.close()


class _Worker:
    def __init__(
        self,
        handlers: Mapping[str, Handler],
        store: JobStore,
        lock: WorkerLock,
        on_failed: Callable[[Job, BaseException | None], None] | None,
    ) -> None:
        self._handlers = handlers
        self._store = store
        self._lock = lock
        self._on_failed = on_failed
        self._submitter = Submitter(store.engine)
        self._busy = 0
        self._busy_lock = threading.Lock()

    def serve(
        self,
        queues: tuple[QueueName, ...],
        stop: threading.Event,
        on_ready: Callable[[str], None] | None,
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
                on_ready(self._lock.executor_id)
            stop.wait()
            for event in dbos.background_thread_stop_events:
                event.set()
            self._drain(drain_s)
        finally:
            DBOS.destroy(destroy_registry=True)

    def close(self) -> None:
        self._submitter.close()

    def _drain(self, drain_s: float) -> None:
        time.sleep(_SETTLE_S)
        deadline = time.monotonic() + drain_s
        while self._busy and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)

    def _register(self) -> None:
        """Gives DBOS the two workflows, by the names under which `Submitter` enqueues them."""
        from dbos import DBOS

        @DBOS.workflow(name="encode")
        def encode(job_id: str) -> None:
            self._step("encode", self._encode, job_id)

        @DBOS.workflow(name="generate")
        def generate(job_id: str) -> None:
            self._step("generate", self._generate, job_id)

    def _step(self, name: str, work: Callable[[str], None], job_id: str) -> None:
        from dbos import DBOS

        with self._busy_lock:
            self._busy += 1
        try:
            DBOS.run_step({"name": name}, work, job_id)
        finally:
            with self._busy_lock:
                self._busy -= 1

    def _encode(self, job_id: str) -> None:
        if not self._store.claim_encoding(
            job_id, worker_id=self._lock.worker_id, executor_id=self._lock.executor_id
        ):
            return  # cancelled meanwhile
        if self._handle("encode", job_id):
            self._store.enqueue_generation(job_id, self._submitter.enqueue_generate)
        else:
            self._end(job_id, None)

    def _generate(self, job_id: str) -> None:
        if not self._store.claim_generation(
            job_id, worker_id=self._lock.worker_id, executor_id=self._lock.executor_id
        ):
            return
        self._handle("generate", job_id)
        self._end(job_id, None)

    def _handle(self, name: str, job_id: str) -> bool:
        try:
            return bool(self._handlers[name](job_id))
        except Exception as error:  # noqa: BLE001 - DBOS would store what is raised, with its text, in clear
            # Not its text here either: an error of a tokenizer may quote the prompt.
            _log.error("the %s handler raised %s for %s", name, type(error).__name__, job_id)
            self._end(job_id, error)
            return False

    def _end(self, job_id: str, error: BaseException | None) -> None:
        """Fails a job that its handler has left unfinished."""
        job = self._store.get(job_id)
        if job is None or job.terminal:
            return
        doing = "encoding the prompt" if job.state == JobState.ENCODING else "generating"
        message = f"internal error while {doing}; submit the video again"
        if not self._store.fail(job_id, code="internal_error", message=message, reason="internal"):
            return
        failed = self._store.get(job_id)
        if failed is not None and self._on_failed is not None:
            self._on_failed(failed, error)
