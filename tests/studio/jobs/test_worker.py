"""Worker processes on the real queue: each job once, realtime first, and none left lying when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from rushes.studio.jobs import (
    MAX_RECOVERIES,
    Claims,
    FileLiveness,
    Job,
    JobState,
    Reaper,
    WorkerBusyError,
    WorkerLock,
    pid_of,
    run_worker,
    table,
)
from studio.claiming import claim_generation
from studio.jobs.bench import Bench
from studio.jobs.worker_process import FREEZE, HANG, LEAVE, RAISE, REFUSE

SCRIPT = Path(__file__).with_name("worker_process.py")


@dataclass
class Worker:
    process: subprocess.Popen[str]
    said: list[list[str]] = field(default_factory=list)

    def until(self, word: str, times: int = 1) -> list[str]:
        """Reads on until the word was said so often; returns the last such line."""
        assert self.process.stdout is not None
        while [line[0] for line in self.said].count(word) < times:
            line = self.process.stdout.readline()
            assert line, f"the worker ended without {word}; it said {self.said}"
            self.said.append(line.split())
        return next(line for line in reversed(self.said) if line[0] == word)

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.until("stopped")
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


Start = Callable[[str, str], Worker]


@pytest.fixture
def start(url: str, prompt_key: bytes, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker process with a role and an id; whatever is left is killed in the end."""
    started: list[Worker] = []

    def start(role: str, worker_id: str) -> Worker:
        arguments = (url, prompt_key.decode(), str(tmp_path / "workers"), role, worker_id)
        command = [sys.executable, "-W", "error", str(SCRIPT), *arguments]
        errors = (tmp_path / f"{worker_id}.err").open("a")
        with errors:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        started.append(Worker(process))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def liveness(tmp_path: Path) -> FileLiveness:
    return FileLiveness(tmp_path / "workers")


def test_jobs_go_through_both_queues_by_tier_and_each_ends(
    bench: Bench, start: Start, tmp_path: Path
) -> None:
    free = bench.accept(tier="free")
    standard = bench.accept(tier="standard")
    raising = bench.accept(tier="standard", seed=RAISE, prompt="zebracanary")
    leaving = bench.accept(tier="premium", seed=LEAVE)
    refused = bench.accept(tier="premium", seed=REFUSE)
    cancelled = bench.accept(tier="realtime")
    realtime = bench.accept(tier="realtime")
    assert bench.store.cancel(cancelled.id)
    encoder = start("encode", "encode-0")
    encoder.until("encode", times=6)
    encoder.stop()
    order = [line[1] for line in encoder.said if line[0] == "encode"]
    assert order == [realtime.id, leaving.id, standard.id, free.id, refused.id, raising.id]
    assert {line[2] for line in encoder.said if line[0] == "encode"} == {"encoding"}
    generator = start("generate", "generate-0")
    generator.until("failed", times=2)
    generator.stop()
    order = [line[1] for line in generator.said if line[0] == "generate"]
    assert order == [realtime.id, leaving.id, standard.id, free.id, raising.id]
    assert {line[2] for line in generator.said if line[0] == "generate"} == {"assigned"}
    assert [line[1:] for line in generator.said if line[0] == "failed"] == [
        [leaving.id, "NoneType"],
        [raising.id, "RuntimeError"],
    ]
    ends = {job.id: bench.get(job.id) for job in (free, standard, realtime, raising, leaving, refused)}
    assert [ends[job.id].state for job in (free, standard, realtime)] == [JobState.COMPLETED] * 3
    for job in (raising, leaving):
        assert ends[job.id].state is JobState.FAILED
        assert ends[job.id].error_code == "internal_error"
    assert ends[refused.id].error_code == "content_policy_violation"
    assert bench.get(cancelled.id).state is JobState.CANCELLED
    assert bench.balance() == 100 - 3 * 3
    # What a handler raised is told by its type; its text is nobody's business.
    told = (tmp_path / "generate-0.err").read_text()
    assert "RuntimeError" in told
    assert "zebracanary" not in told
    assert b"zebracanary" not in b"".join(p.read_bytes() for p in tmp_path.glob("studio.db*"))


def test_a_killed_workers_job_goes_to_another_and_nobody_elses(
    bench: Bench, start: Start, liveness: FileLiveness
) -> None:
    victim, survivor = start("all", "all-0"), start("all", "all-1")
    victim.until("ready")
    survivor.until("ready")
    for _ in range(2):
        bench.accept(seed=HANG)
    victim.until("hanging")
    survivor.until("hanging")
    lost: list[Job] = []
    recovered: list[Job] = []
    reaper = Reaper(
        bench.store,
        bench.workers,
        liveness,
        on_lost=lost.append,
        on_recovered=lambda job, _stage: recovered.append(job),
    )
    assert reaper.sweep() == []
    pid = victim.process.pid
    victim.kill()
    (lost_job,) = [job for job in bench.store.held_by_workers() if job.worker_id == "all-0"]
    assert reaper.sweep() == lost == []
    back = bench.get(lost_job.id)
    assert (back.state, back.recoveries, back.executor_id) == (JobState.WAITING, 1, None)
    assert recovered == [lost_job]
    assert pid_of(recovered[0].executor_id) == pid
    assert back.stages[-1].name == "rushes.interrupted"
    assert bench.balance() == 94
    (still,) = bench.store.held_by_workers()
    assert still.worker_id == "all-1"
    # The same id, started again, is alive, and yet its predecessor's jobs are not its own.
    again = start("all", "all-0")
    again.until("ready")
    assert again.until("completed")[1] == lost_job.id
    assert reaper.sweep() == []
    again.stop()
    done = bench.get(lost_job.id)
    assert (done.state, done.credits_charged) == (JobState.COMPLETED, 3)


def test_a_database_that_refuses_once_is_asked_again(bench: Bench, start: Start) -> None:
    job, leaving = bench.accept(), bench.accept(seed=LEAVE)
    worker = start("all", "refused-once")
    worker.until("generate", times=2)
    worker.until("failed")
    worker.stop()
    refused = [line[1] for line in worker.said if line[0] == "refused"]
    assert refused == ["enqueue_generation", "fail"]
    assert bench.get(job.id).state is JobState.COMPLETED
    assert bench.get(leaving.id).state is JobState.FAILED
    assert [line[1:] for line in worker.said if line[0] == "failed"] == [[leaving.id, "NoneType"]]


def test_a_job_goes_back_while_the_database_refuses_and_is_failed_after_too_many_times(
    bench: Bench, start: Start
) -> None:
    job = bench.accept(tier="realtime")
    worker = start("encode", "never-passes-on")
    assert worker.until("left")[1:] == [job.id, "the", "job", "database", "was", "away"]
    assert worker.until("failed") == ["failed", job.id, "OperationalError"]
    worker.stop()
    failed = bench.get(job.id)
    assert failed.recoveries == MAX_RECOVERIES
    assert (failed.state, failed.error_code) == (JobState.FAILED, "internal_error")
    assert failed.error_message == "internal error while encoding the prompt; submit the video again"
    assert bench.balance() == 100


def test_a_job_that_can_not_be_ended_is_ended_before_the_next_is_taken(bench: Bench, start: Start) -> None:
    first, second = bench.accept(seed=LEAVE), bench.accept(seed=LEAVE, tier="free")
    worker = start("all", "slow-to-end")
    ended = worker.until("failed")[1]
    assert [line[1] for line in worker.said if line[0] == "generate"] == [ended]
    assert {ended, worker.until("failed", times=2)[1]} == {first.id, second.id}
    worker.stop()
    assert bench.balance() == 100


def test_a_worker_that_can_not_work_says_why(bench: Bench, tmp_path: Path) -> None:
    with WorkerLock(tmp_path, "all-0", "all") as lock:
        with pytest.raises(ValueError, match="needs a handler for generate"):
            run_worker(
                "all",
                {"encode": lambda _: True},
                store=bench.store,
                claims=Claims(bench.store.engine, worker_id="all-0", executor_id=lock.executor_id),
                stop=threading.Event(),
            )
        with pytest.raises(WorkerBusyError, match=f"pid {os.getpid()}"):
            WorkerLock(tmp_path, "all-0", "encode")
    with pytest.raises(ValueError, match=r"worker id '\.\./x'"):
        WorkerLock(tmp_path, "../x", "all")


def test_a_job_that_outlasts_the_end_of_its_worker_goes_to_another(bench: Bench, start: Start) -> None:
    job = bench.accept(seed=HANG)
    assert start("encode", "encode-0").until("encode")[1] == job.id
    worker = start("generate", "hasty")
    worker.until("hanging")
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    assert worker.until("left")[1] == job.id
    assert start("generate", "generate-0").until("completed")[1] == job.id
    assert bench.get(job.id).recoveries == 0  # nobody was lost


def test_a_frozen_worker_is_overtaken_and_changes_nothing_when_it_wakes(
    bench: Bench, start: Start, liveness: FileLiveness, tmp_path: Path
) -> None:
    job = bench.accept(seed=FREEZE)
    frozen = start("all", "frozen")
    frozen.until("frozen")
    seconds = [0.0]
    hung: list[Job] = []
    reaper = Reaper(
        bench.store,
        bench.workers,
        liveness,
        on_lost=lambda _: None,
        on_hung=hung.append,
        hung_after_s=10,
        clock=lambda: seconds[0],
    )
    reaper.sweep()
    assert hung == []
    seconds[0] = 10.0
    reaper.sweep()
    assert [one.id for one in hung] == [job.id]
    successor = start("generate", "generate-0")
    assert successor.until("completed")[1] == job.id
    ledger = bench.balance()
    (tmp_path / "workers" / "thaw").touch()
    assert frozen.until("refused")[1] == job.id
    done = bench.get(job.id)
    assert (done.state, done.worker_id, done.credits_charged) == (JobState.COMPLETED, "generate-0", 3)
    assert bench.balance() == ledger == 97


def test_a_stopped_worker_loses_its_job_with_its_lease_and_can_not_double_it(
    bench: Bench, start: Start, liveness: FileLiveness, tmp_path: Path
) -> None:
    """SIGSTOP while it renders: it wakes, ends its render, and neither stores nor charges a second time."""
    job = bench.accept(seed=FREEZE)
    stopped = start("all", "stopped")
    stopped.until("frozen")
    seconds = [0.0]
    gone: list[Job] = []
    reaper = Reaper(
        bench.store,
        bench.workers,
        liveness,
        on_lost=lambda _: None,
        on_gone=gone.append,
        lease_s=5,
        clock=lambda: seconds[0],
    )
    reaper.sweep()
    eventually_said(bench)
    seconds[0] = 5.0
    reaper.sweep()
    assert gone == []  # it has said since that it lives
    stop_between_transactions(bench, stopped.process)
    reaper.sweep()
    seconds[0] = 10.0
    reaper.sweep()
    assert [one.id for one in gone] == [job.id]
    successor = start("generate", "generate-0")
    assert successor.until("completed")[1] == job.id
    stopped.process.send_signal(signal.SIGCONT)
    (tmp_path / "workers" / "thaw").touch()
    assert stopped.until("refused")[1] == job.id
    done = bench.get(job.id)
    assert (done.worker_id, done.credits_charged, bench.balance()) == ("generate-0", 3, 97)
    reaper.sweep()
    assert len(gone) == 1  # and it is alive again


def eventually_said(bench: Bench) -> None:
    """Waits until the one worker has said again that it lives."""
    (before,) = bench.workers.all()
    deadline = time.monotonic() + 30
    while bench.workers.all() == [before]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop_between_transactions(bench: Bench, process: subprocess.Popen[str]) -> None:
    """SIGSTOP, at a moment at which it doesn't keep everybody else out of SQLite's file."""
    with bench.store.engine.begin() as conn:
        conn.execute(sa.delete(table.workers).where(table.workers.c.worker_id == "nobody"))
        if conn.dialect.name == "sqlite":
            process.send_signal(signal.SIGSTOP)  # the write lock is ours
    process.send_signal(signal.SIGSTOP)


def test_a_job_on_which_worker_after_worker_is_lost_fails_in_the_end(
    bench: Bench, liveness: FileLiveness
) -> None:
    job = bench.accept()
    lost: list[Job] = []
    reaper = Reaper(bench.store, bench.workers, liveness, on_lost=lost.append)
    bench.advance(job.id, JobState.WAITING)
    for _ in range(MAX_RECOVERIES + 1):
        assert lost == []
        held = claim_generation(bench.store, job.id, worker_id="gone", executor_id="gone.1.00000000")
        assert held is not None
        assert bench.store.start_generating(held)
        reaper.sweep()
    (failed,) = lost
    assert failed.error_message == (
        "worker gone (pid 1) died while generating, at step 0 of 8; submit the video again"
    )
    assert (failed.error_code, failed.failure_reason, failed.credits_charged) == (
        "worker_lost",
        "internal",
        0,
    )
    assert bench.balance() == 100
