"""A worker process for tests: real queue, real lock, handlers that do what a job's seed says.

Arguments: database URL, prompt key, workers folder, role, worker id. It prints a line for each thing that it does,
and ends when its standard input is closed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from rushes.studio.jobs import (
    Claims,
    Heartbeat,
    Job,
    JobStore,
    WorkerInfo,
    WorkerLock,
    Workers,
    open_database,
    run_worker,
)

RAISE, LEAVE, REFUSE, HANG, FREEZE = 101, 102, 103, 104, 105


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
            while not (self.folder / "thaw").exists():
                time.sleep(0.02)
        if job.seed != LEAVE:
            done = self.store.complete(job, media="sha256/aa.mp4", size_bytes=9)
            say("completed" if done else "refused", job.id)


class RefusedOnce(JobStore):
    """Its first change of each kind finds the database locked."""

    def enqueue_generation(self, job: Job) -> bool:
        self._refuse("enqueue_generation")
        return super().enqueue_generation(job)

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

    def enqueue_generation(self, job: Job) -> bool:
        raise locked()


class SlowToEnd(JobStore):
    """Finds the database locked for a while when it is to end a job."""

    def fail(self, job_id: str, **reason: Any) -> Job | None:
        self.refusals: int = self.__dict__.setdefault("refusals", 0) + 1
        if self.refusals < 8:
            raise locked()
        return super().fail(job_id, **reason)


def locked() -> OperationalError:
    return OperationalError("UPDATE jobs", {}, Exception("database is locked"))


KINDS: dict[str, type[JobStore]] = {
    "refused-once": RefusedOnce,
    "never-passes-on": NeverPassesOn,
    "slow-to-end": SlowToEnd,
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
    workers = Workers(store.engine)
    with WorkerLock(Path(workers_dir), worker_id, role) as lock:
        info = WorkerInfo(
            worker_id=worker_id, executor_id=lock.executor_id, pid=os.getpid(), role=role, state="idle"
        )
        workers.publish(info)
        with Heartbeat(lambda: workers.publish(info), every_s=0.1):
            run_worker(
                role,  # type: ignore[arg-type] # checked above
                {"encode": handlers.encode, "generate": handlers.generate},
                store=store,
                claims=Claims(store.engine, worker_id=worker_id, executor_id=lock.executor_id),
                stop=stop,
                on_ready=lambda: say("ready", lock.executor_id),
                on_failed=lambda job, error: say("failed", job.id, type(error).__name__),
                on_left=lambda job, _stage, why: say("left", job.id, why),
                drain_s=DRAINS.get(worker_id, 60.0),
            )
        workers.withdraw(lock.executor_id)
    store.engine.dispose()
    say("stopped")


if __name__ == "__main__":
    main()
