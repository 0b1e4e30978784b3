"""Runs a worker process: takes jobs off its role's queues, one at a time each, and hands them to their handlers.

A job is taken by compare-and-set before its handler sees it, so that it is worked on by one worker; and it is never
left unfinished by a handler that raised. A database that refuses for a moment is asked again; if it goes on
refusing, the job goes back to its queue once it answers, since that was not the job's fault.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final, Literal, TypeAlias

from rushes.studio.jobs.claims import Claims
from rushes.studio.jobs.job import Job, JobState, Stage
from rushes.studio.jobs.patience import DATABASE_AWAY, patiently
from rushes.studio.jobs.schedule import QUEUES, Queue
from rushes.studio.jobs.store import JobStore

Role = Literal["encode", "generate", "all"]

Handler: TypeAlias = "Callable[[Job], bool | None]"
"""Does a job's part, given the job in this worker's hands. `encode` returns True for a job that may be rendered."""

_Unended: TypeAlias = "list[tuple[Job, Exception | None]]"
"""Jobs that a handler is through with and did not end, and what it raised."""

_log = logging.getLogger(__name__)

_ROLE_QUEUES: Final[dict[Role, tuple[Queue, ...]]] = {
    "encode": ("encode",),
    "generate": ("generate",),
    "all": QUEUES,
}
_POLL_S: Final = 0.1
_AFTER_AN_ERROR_S: Final = 1.0


def run_worker(
    role: Role,
    handlers: Mapping[str, Handler],
    *,
    store: JobStore,
    claims: Claims,
    stop: threading.Event,
    warm: Callable[[], Collection[str]] = tuple,
    on_ready: Callable[[], None] | None = None,
    on_failed: Callable[[Job, BaseException | None], None] | None = None,
    on_left: Callable[[Job, Stage, str], None] | None = None,
    drain_s: float = 60.0,
) -> bool:
    """Works until `stop` is set, then finishes the job in hand and returns. One call a process at a time.

    Args:
        role: which queues to work on.
        handlers: "encode" and "generate", as far as the role needs them. They are called, in a thread for each,
            with the job that this worker has just taken (state encoding or assigned). `encode` returns True when
            the job is to be rendered, after which it waits for that; or it ends the job itself. `generate` ends
            the job.
        store: the jobs.
        claims: this worker's way to its jobs.
        stop: ends the worker.
        warm: the models that are in memory.
        on_ready: called once jobs are being taken.
        on_failed: called with a job that was failed here because its handler raised or the database refused too
            often (the error), or because its handler returned without having ended it (None).
        on_left: called with a job that went back to its queue, since the worker had to end or the database was
            away before it was done, with the stage that accounts for its time until then, and why.
        drain_s: how long the job in hand may take after `stop`.

    Returns:
        Whether all that it had in hand has ended. If not, a thread still runs that only the process' end ends.

    Raises:
        ValueError: a handler of the role is missing.
    """
    queues = _ROLE_QUEUES[role]
    if missing := [queue for queue in queues if queue not in handlers]:
        msg = f"role {role} needs a handler for {' and '.join(missing)}"
        raise ValueError(msg)
    worker = _Worker(handlers, store, claims, stop, warm=warm, on_failed=on_failed, on_left=on_left)
    # Daemons: a render that outlasts its time must not keep the process.
    loops = [
        threading.Thread(target=worker.serve, args=(q,), name=f"rushes-{q}", daemon=True) for q in queues
    ]
    for loop in loops:
        loop.start()
    if on_ready is not None:
        on_ready()
    stop.wait()
    deadline = time.monotonic() + drain_s
    for loop in loops:
        loop.join(max(0.0, deadline - time.monotonic()))
    worker.give_up()
    return not any(loop.is_alive() for loop in loops)


class _Worker:
    def __init__(
        self,
        handlers: Mapping[str, Handler],
        store: JobStore,
        claims: Claims,
        stop: threading.Event,
        *,
        warm: Callable[[], Collection[str]],
        on_failed: Callable[[Job, BaseException | None], None] | None,
        on_left: Callable[[Job, Stage, str], None] | None,
    ) -> None:
        self._handlers = handlers
        self._store = store
        self._claims = claims
        self._stop = stop
        self._warm = warm
        self._on_failed = on_failed
        self._on_left = on_left

    def serve(self, queue: Queue) -> None:
        """Takes one job after the other, until the worker is to stop."""
        unended: _Unended = []  # this loop's own: a worker of both roles has two
        while not self._stop.is_set():
            try:
                self._end_what_is_left(unended)
                job = self._claims.next(queue, self._warm())
            except Exception as error:  # noqa: BLE001 - the database may be back the next time
                _log.error("looking for a job to %s raised %s", queue, type(error).__name__)
                self._stop.wait(_AFTER_AN_ERROR_S)
                continue
            if job is None:
                self._stop.wait(_POLL_S)
            else:
                self._work(queue, job, unended)

    def give_up(self) -> None:
        """Puts back what is still being worked on: the process ends, and another goes on with it."""
        for job in self._store.held_by_workers():
            if job.executor_id == self._claims.executor_id:
                self._leave(job, "it was stopped")

    def _leave(self, job: Job, why: str, *, lost: bool = False) -> bool:
        """Puts a job back; False if it is not this worker's any more, or was lost too often."""
        stage = self._store.recover(job, lost=lost)
        if stage is not None and self._on_left is not None:
            self._on_left(job, stage, why)
        return stage is not None

    def _work(self, queue: Queue, job: Job, unended: _Unended) -> None:
        """Does the job's part."""
        error: Exception | None = None
        try:
            may_be_rendered = self._handlers[queue](job)
            if queue == "encode" and may_be_rendered:
                patiently(lambda: self._store.enqueue_generation(job))
                return
        except Exception as raised:  # noqa: BLE001 - whatever it is, it is the job's end and not the worker's
            # Not its text: an error of a tokenizer may quote the prompt.
            _log.error("%s of %s raised %s", queue, job.id, type(raised).__name__)
            error = raised
        unended.append((job, error))
        try:
            self._end_what_is_left(unended)
        except Exception as raised:  # noqa: BLE001 - as above; it is tried again before the next job is taken
            _log.error("ending %s raised %s", job.id, type(raised).__name__)

    def _end_what_is_left(self, unended: _Unended) -> None:
        """Ends the jobs that their handlers did not end, however often the database has refused that."""
        while unended:
            job, error = unended[0]
            failed = patiently(partial(self._end_unfinished, job, error))
            del unended[0]
            if failed is not None and self._on_failed is not None:
                self._on_failed(failed, error)

    def _end_unfinished(self, held: Job, error: Exception | None) -> Job | None:
        """Fails a job that is left unfinished; None if it is not.

        Once the worker ends, or where the database was away, it goes back instead.
        """
        job = self._store.get(held.id)
        if job is None or job.terminal or job.attempt != held.attempt:
            return None
        if self._stop.is_set():
            self._leave(job, "it was stopped")
            return None
        if isinstance(error, DATABASE_AWAY) and self._leave(job, "the job database was away", lost=True):
            return None
        doing = "encoding the prompt" if job.state is JobState.ENCODING else "generating"
        message = f"internal error while {doing}; submit the video again"
        return self._store.fail(job.id, code="internal_error", message=message, reason="internal", held=held)
