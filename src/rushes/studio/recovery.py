"""What is told, and done, when a job goes back to its queue because its worker was lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

from rushes.sdk import logs, tracing
from rushes.studio.cost import Book
from rushes.studio.jobs import Job, JobStore, Liveness, Stage, Submitter, pid_of
from rushes.studio.outcome import root_of

__all__ = ["encode_again", "kill_hung", "tell_gone", "tell_interrupted"]

_LOG: Final = logs.get_logger("scheduler")


def tell_interrupted(job: Job, stage: Stage, *, why: str = "its worker is gone") -> None:
    """The span and the log line of a job that went back, as it was in its worker's hands."""
    attributes: dict[str, tracing.AttributeValue] = {"model": job.model, "step": job.step}
    if job.worker_id:
        attributes["worker_id"] = job.worker_id
    with tracing.under(root_of(job)):
        tracing.record(stage.name, stage.start_ns, stage.end_ns, attributes)
        _LOG.warning(
            "generation.job.interrupted",
            request_id=job.id,
            model=job.model,
            tier=job.tier,
            pid=pid_of(job.executor_id),
            step=job.step,
            total_steps=job.steps,
            error=f"worker {job.worker_id}: {why}; another goes on with the video",
        )


def tell_gone(job: Job) -> None:
    """The log line of a worker that was found dead, or hanging, with this job in its hands."""
    with tracing.under(root_of(job)):
        text = f"worker {job.worker_id} is dead or hangs, with a video in its hands"
        _LOG.error("worker.lost", request_id=job.id, pid=pid_of(job.executor_id), error=text)


def kill_hung(liveness: Liveness, book: Book) -> Callable[[Job], None]:
    """What to do with a worker that hangs, if it is on this host: end it, so that its place is taken anew."""

    def kill(job: Job) -> None:
        pid = pid_of(job.executor_id)
        if pid is not None and job.executor_id is not None and liveness.alive(job.executor_id):
            os.kill(pid, signal.SIGKILL)
        # Not before: a worker that stands still may hold SQLite's one write lock.
        book.because(job.id, job.attempt, "hung")

    return kill


def encode_again(store: JobStore, submitter: Submitter) -> Callable[[Job], bool]:
    """For a job whose encoded prompt was lost: back to the first queue; False once that has happened too often."""

    def again(job: Job) -> bool:
        stage = store.recover(job, submitter.enqueue, encoded=False)
        if stage is None:
            return False
        tell_interrupted(job, stage, why="the encoded prompt is missing or damaged")
        return True

    return again
