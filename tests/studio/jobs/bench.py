"""What tests of jobs work with: a real database one key, and jobs to order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rushes.studio.jobs import Job, JobPrompt, JobState, JobStore, Workers, new_job_id
from rushes.studio.keys import ApiKey, KeyStore
from studio.claiming import claim_encoding, claim_generation

WORKER = {"worker_id": "generate-0", "executor_id": "generate-0.1.00000000"}


class Clock:
    """Unix nanoseconds, a microsecond further at each look."""

    def __init__(self) -> None:
        self.now = 1_767_960_000_000_000_000

    def __call__(self) -> int:
        self.now += 1_000
        return self.now


@dataclass(frozen=True)
class Bench:
    store: JobStore
    workers: Workers
    keys: KeyStore
    key: ApiKey
    clock: Clock

    def job(self, **fields: Any) -> Job:
        """A job that is nowhere yet."""
        values: dict[str, Any] = {
            "id": new_job_id(),
            "key_id": self.key.id,
            "tier": "standard",
            "model": "MOCHI1",
            "seconds": 1.0,
            "width": 64,
            "height": 48,
            "num_frames": 25,
            "fps": 24,
            "steps": 8,
            "seed": 7,
            "guidance_scale": 4.5,
            "trace_id": "a" * 32,
            "root_span_id": "b" * 16,
            "accepted_ns": self.clock(),
            "credits_reserved": 3,
        }
        return Job(**values | fields)

    def accept(self, *, prompt: str = "a quiet lake", key: ApiKey | None = None, **fields: Any) -> Job:
        """Accepts a job as the gateway does; keyword arguments are fields of `Job`."""
        key = key or self.key
        job = self.job(key_id=key.id, **fields)
        self.store.create(job, key=key, prompt=JobPrompt(prompt, "blurry"))
        return job

    def get(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        assert job is not None
        return job

    def balance(self, key: ApiKey | None = None) -> int:
        found = self.keys.get((key or self.key).id)
        assert found is not None
        return found.credits

    def advance(self, job_id: str, to: JobState) -> None:
        """Moves a queued job on, through all states between."""
        store = self.store
        if to is JobState.FAILED:
            assert store.fail(job_id, code="c", message="m", reason="internal")
            return
        if to is JobState.CANCELLED:
            assert store.cancel(job_id)
            return
        steps: dict[JobState, Callable[[], object]] = {
            JobState.ENCODING: lambda: claim_encoding(store, job_id, **WORKER),
            JobState.WAITING: lambda: store.enqueue_generation(self.get(job_id)),
            JobState.ASSIGNED: lambda: claim_generation(store, job_id, **WORKER),
            JobState.GENERATING: lambda: store.start_generating(self.get(job_id)),
            JobState.COMPLETED: lambda: store.complete(self.get(job_id), media="sha256/aa.mp4", size_bytes=9),
        }
        for state, step in steps.items():
            if to is JobState.QUEUED:
                return
            assert step()
            if state is to:
                return
