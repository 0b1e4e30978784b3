"""Puts one job into a worker's hands, whoever's turn it is, where a test has a worker in mind and no queue."""

from __future__ import annotations

from rushes.studio.jobs import Job, JobStore
from rushes.studio.jobs.claims import take


def claim_encoding(store: JobStore, job_id: str, *, worker_id: str, executor_id: str) -> Job | None:
    """From queued to encoding."""
    with store.engine.begin() as conn:
        return take(
            conn, "encode", job_id, worker_id=worker_id, executor_id=executor_id, at_ns=store._clock()
        )


def claim_generation(store: JobStore, job_id: str, *, worker_id: str, executor_id: str) -> Job | None:
    """From waiting to assigned."""
    with store.engine.begin() as conn:
        return take(
            conn, "generate", job_id, worker_id=worker_id, executor_id=executor_id, at_ns=store._clock()
        )
