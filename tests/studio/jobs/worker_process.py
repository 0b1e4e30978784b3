"""A worker process for tests: real queue, real lock, handlers that do what a job's seed says.

Arguments: database URL, prompt key, workers folder, role, worker id. It prints a line for each thing that it does,
and ends when its standard input is closed.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from rushes.studio.jobs import Job, JobStore, WorkerLock, open_database, run_worker

RAISE, LEAVE, REFUSE, HANG, HANG_ENCODING, FREEZE = 101, 102, 103, 104, 105, 106


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


class Handlers:
    def __init__(self, store: JobStore, folder: Path) -> None:
        self.store = store
        self.folder = folder

    def encode(self, job: Job) -> bool:
        say("encode", job.id, job.state.value)
        if job.seed == REFUSE:
            code = "content_policy_violation"
            self.store.fail(job.id, code=code, message="blocked", reason="safety_block", held=job)
            return False
        hang_if_asked(job)
        return True

    def generate(self, job: Job) -> None:
        say("generate", job.id, job.state.value)
        assert self.store.start_generating(job)
        self.store.set_progress(job, 3)
        if job.seed == RAISE:
            raise RuntimeError(self.store.prompt(job.id).text)
        if job.seed == HANG and job.attempt == 2:  # 1 was the encoding
            say("hanging", job.id)
            time.sleep(600)
        if job.seed == FREEZE and not job.recoveries:
            say("frozen", job.id)
            # Not SIGSTOP: it could stop another thread of this process within a transaction of SQLite.
            while not (self.folder / "thaw").exists():
                time.sleep(0.02)
        if job.seed != LEAVE:
            done = self.store.complete(job, media="sha256/aa.mp4", size_bytes=9)
            say("completed" if done else "refused", job.id)


class NeverBegins(JobStore):
    """Takes jobs off the queue and gets no further."""

    def claim_encoding(self, job_id: str, *, worker_id: str, executor_id: str) -> Job | None:
        say("hanging", job_id)
        time.sleep(600)
        return super().claim_encoding(job_id, worker_id=worker_id, executor_id=executor_id)


class RefusedOnce(JobStore):
    """Its first change of each kind finds the database locked."""

    refused: set[str]

    def claim_encoding(self, job_id: str, *, worker_id: str, executor_id: str) -> Job | None:
        self._refuse("claim_encoding")
        return super().claim_encoding(job_id, worker_id=worker_id, executor_id=executor_id)

    def enqueue_generation(self, job: Job, enqueue: Callable[[sa.Connection, Job], None]) -> bool:
        self._refuse("enqueue_generation")
        return super().enqueue_generation(job, enqueue)

    def claim_generation(self, job_id: str, *, worker_id: str, executor_id: str) -> Job | None:
        self._refuse("claim_generation")
        return super().claim_generation(job_id, worker_id=worker_id, executor_id=executor_id)

    def fail(self, job_id: str, **reason: Any) -> Job | None:
        self._refuse("fail")
        return super().fail(job_id, **reason)

    def _refuse(self, what: str) -> None:
        refused = self.__dict__.setdefault("refused", set())
        if what not in refused:
            refused.add(what)
            say("refused", what)
            raise locked()


class NeverPassesOn(JobStore):
    """Finds the database locked whenever a job is to be passed on."""

    def enqueue_generation(self, job: Job, enqueue: Callable[[sa.Connection, Job], None]) -> bool:
        raise locked()


class NeverEnds(NeverPassesOn):
    """As that, and neither can it end the job."""

    def fail(self, job_id: str, **reason: Any) -> Job | None:
        raise locked()


class NeverClaims(NeverEnds):
    """As that, and can't even claim it."""

    def claim_encoding(self, job_id: str, *, worker_id: str, executor_id: str) -> Job | None:
        job = self.get(job_id)
        assert job is not None
        hang_if_asked(job)
        raise locked()


def hang_if_asked(job: Job) -> None:
    if job.seed == HANG_ENCODING:
        say("hanging", job.id)
        time.sleep(600)


def locked() -> OperationalError:
    return OperationalError("UPDATE jobs", {}, Exception("database is locked"))


KINDS: dict[str, type[JobStore]] = {
    "never-begins": NeverBegins,
    "refused-once": RefusedOnce,
    "never-passes-on": NeverPassesOn,
    "never-ends": NeverEnds,
    "never-claims": NeverClaims,
}

DRAINS = {"hasty": 0.0}


def main() -> None:
    url, prompt_key, workers_dir, role, worker_id = sys.argv[1:]
    kind = KINDS.get(worker_id, JobStore)
    store = kind(open_database(url), prompt_key=prompt_key.encode())
    stop = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    handlers = Handlers(store, Path(workers_dir))
    assert role in {"encode", "generate", "all"}
    with WorkerLock(Path(workers_dir), worker_id, role) as lock:
        run_worker(
            role,  # type: ignore[arg-type] # checked above
            {"encode": handlers.encode, "generate": handlers.generate},
            store=store,
            lock=lock,
            stop=stop,
            on_ready=lambda: say("ready", lock.executor_id),
            on_failed=lambda job, error: say("failed", job.id, type(error).__name__),
            on_left=lambda job, _stage: say("left", job.id),
            drain_s=DRAINS.get(worker_id, 60.0),
        )
    store.engine.dispose()
    say("stopped")


if __name__ == "__main__":
    main()
