"""What is told, and done, when a job goes back to its queue: its worker was lost, or another try may go well."""

from __future__ import annotations

import math
import os
import signal
import zlib
from collections.abc import Callable
from typing import Final

from rushes.sdk import instruments, logs, tracing
from rushes.studio.cost import Book
from rushes.studio.failure import Failure
from rushes.studio.jobs import Job, JobStore, Liveness, Stage, pid_of
from rushes.studio.outcome import root_of

__all__ = ["encode_again", "kill_hung", "pause_before", "retry", "tell_gone", "tell_interrupted"]

_LOG: Final = logs.get_logger("scheduler")
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 300.0


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


def encode_again(store: JobStore) -> Callable[[Job], bool]:
    """For a job whose encoded prompt was lost: back to the first queue; False once that has happened too often."""

    def again(job: Job) -> bool:
        stage = store.recover(job, encoded=False)
        if stage is None:
            return False
        tell_interrupted(job, stage, why="the encoded prompt is missing or damaged")
        return True

    return again


def pause_before(job: Job, failure: Failure) -> float:
    """Seconds until the job's next try: twice as long each time, spread by a quarter, and what was asked for at least.

    The spread is the job's own: jobs that failed together don't come back together.
    """
    spread = 1 + zlib.crc32(f"{job.id}.{job.retries}".encode()) / 2**32 / 4
    pause = min(_LONGEST_PAUSE_S, math.ldexp(_FIRST_PAUSE_S, job.retries)) * spread
    return max(pause, failure.retry_after_s or 0.0)


def retry(job: Job, failure: Failure, *, store: JobStore, limit: int) -> bool:
    """Gives a job back that may go well another time; False if it was tried too often, or is not this worker's."""
    pause = pause_before(job, failure)
    stage = store.retry(job, after_s=pause, careful=failure.reason == "oom", limit=limit)
    if stage is None:
        return False
    instruments.rushes_retries_total.add(1, model=job.model, reason=failure.reason)
    attributes: dict[str, tracing.AttributeValue] = {
        "model": job.model,
        "reason": failure.reason,
        "retry_after_s": round(pause, 3),
    }
    with tracing.under(root_of(job)):
        tracing.record(stage.name, stage.start_ns, stage.end_ns, attributes)
        _LOG.warning(
            "generation.job.retried",
            request_id=job.id,
            model=job.model,
            tier=job.tier,
            reason=failure.reason,
            retry_after_seconds=round(pause, 3),
            error=failure.message,
        )
    return True
