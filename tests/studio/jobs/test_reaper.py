"""The reaper on rows alone: whom it ends, whom it puts back, whom it leaves alone, and that it tells of each once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy.exc import OperationalError

from rushes.studio.jobs import (
    FileLiveness,
    Job,
    JobState,
    Reaper,
    Stage,
    TierPolicy,
    WorkerInfo,
    WorkerLock,
)
from studio.claiming import claim_encoding, claim_generation
from studio.jobs.bench import Bench


class Seconds:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def liveness(tmp_path: Path) -> FileLiveness:
    return FileLiveness(tmp_path / "workers")


class Watch(NamedTuple):
    """A reaper with a lease of 15 s, its clock, and whom it told of."""

    reaper: Reaper
    seconds: Seconds
    lost: list[Job]
    recovered: list[str]


@pytest.fixture
def watch(bench: Bench, liveness: FileLiveness) -> Watch:
    seconds, lost, recovered = Seconds(), list[Job](), list[str]()
    reaper = Reaper(
        bench.store,
        bench.workers,
        liveness,
        on_lost=lost.append,
        on_recovered=lambda job, _stage: recovered.append(job.id),
        clock=seconds,
    )
    return Watch(reaper, seconds, lost, recovered)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[WorkerLock]:
    with WorkerLock(tmp_path / "workers", "all-0", "all") as lock:
        yield lock


def _say(bench: Bench, executor_id: str, host: str = "here") -> None:
    worker_id, pid, _ = executor_id.split(".")
    bench.workers.publish(
        WorkerInfo(
            worker_id=worker_id, executor_id=executor_id, pid=int(pid), role="all", state="idle", host=host
        )
    )


def test_a_worker_elsewhere_is_dead_once_it_was_silent_for_its_lease(bench: Bench, watch: Watch) -> None:
    reaper, seconds, lost, recovered = watch
    job = bench.accept()
    elsewhere = "generate-9.1.00000000"
    _say(bench, elsewhere, "another-host")
    assert claim_encoding(bench.store, job.id, worker_id="generate-9", executor_id=elsewhere)
    for _ in range(4):
        assert (reaper.sweep(), recovered) == ([], [])
        seconds.now += 10.0
        _say(bench, elsewhere, "another-host")
    assert reaper.sweep() == []
    seconds.now += 14.9
    assert (reaper.sweep(), recovered) == ([], [])
    seconds.now += 0.1
    assert reaper.sweep() == lost == []
    assert recovered == [job.id]


def test_a_worker_on_this_host_is_dead_at_once(bench: Bench, watch: Watch, living: WorkerLock) -> None:
    job = bench.accept()
    _say(bench, living.executor_id)
    assert claim_encoding(bench.store, job.id, worker_id="all-0", executor_id=living.executor_id)
    assert (watch.reaper.sweep(), watch.recovered) == ([], [])
    living.release()
    assert watch.reaper.sweep() == []
    assert watch.recovered == [job.id]


def test_nobody_is_dead_for_what_the_database_did_not_let_him_say(
    bench: Bench, watch: Watch, living: WorkerLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaper, seconds, _, recovered = watch
    job = bench.accept()
    _say(bench, living.executor_id)
    assert claim_encoding(bench.store, job.id, worker_id="all-0", executor_id=living.executor_id)
    reaper.sweep()
    seconds.now += 14.0

    def refused(_unseen_s: float) -> None:
        seconds.now += 10.0
        raise OperationalError("DELETE", {}, Exception("database is locked"))

    def slow(_unseen_s: float) -> None:
        seconds.now += 10.0

    with monkeypatch.context() as away:
        away.setattr(bench.workers, "forget", refused)
        with pytest.raises(OperationalError):
            reaper.sweep()
    reaper.sweep()
    with monkeypatch.context() as away:
        away.setattr(bench.workers, "forget", slow)
        reaper.sweep()
    assert recovered == []
    seconds.now += 15.0
    reaper.sweep()
    assert recovered == [job.id]


@pytest.mark.parametrize("state", [JobState.ASSIGNED, JobState.GENERATING])
def test_a_job_that_runs_longer_than_its_tier_may_fails(
    bench: Bench, liveness: FileLiveness, living: WorkerLock, state: JobState
) -> None:
    lost: list[Job] = []
    policies = {"standard": TierPolicy(time_limit_s=60)}
    reaper = Reaper(
        bench.store, bench.workers, liveness, on_lost=lost.append, policies=policies, now_ns=bench.clock
    )
    job, other = bench.accept(), bench.accept(tier="premium")
    _say(bench, living.executor_id)
    for one in (job, other):
        bench.advance(one.id, JobState.WAITING)
        assert claim_generation(bench.store, one.id, worker_id="all-0", executor_id=living.executor_id)
        if state is JobState.GENERATING:
            assert bench.store.start_generating(bench.get(one.id))
    bench.clock.now += 69 * 10**9
    assert reaper.sweep() == []
    bench.clock.now += 10**9
    assert reaper.sweep() == lost == [bench.get(job.id)]
    assert (lost[0].failure_reason, lost[0].error_code) == ("timeout", "time_limit_exceeded")
    assert lost[0].error_message == "the video took longer than the 60 s that tier standard allows"
    assert bench.get(other.id).state is state
    assert bench.balance() == 97


def test_a_listener_that_fails_does_not_stop_the_reaper(
    bench: Bench, liveness: FileLiveness, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_job: Job) -> None:
        raise OSError("nobody listens")

    def broken_too(_job: Job, _stage: Stage) -> None:
        raise OSError("nobody listens")

    jobs = [bench.accept(), bench.accept()]
    for job in jobs:
        assert claim_encoding(bench.store, job.id, worker_id="gone", executor_id="gone.1.00000000")
    reaper = Reaper(bench.store, bench.workers, liveness, on_lost=broken, on_recovered=broken_too)
    assert reaper.sweep() == []
    assert {bench.get(job.id).state for job in jobs} == {JobState.QUEUED}
    assert "nobody listens" in caplog.text


def test_the_reapers_thread_sweeps_by_itself(bench: Bench, liveness: FileLiveness) -> None:
    found = threading.Event()
    job = bench.accept()
    assert claim_encoding(bench.store, job.id, worker_id="gone", executor_id="gone.1.00000000")
    reaper = Reaper(
        bench.store,
        bench.workers,
        liveness,
        on_lost=print,
        on_recovered=lambda *_: found.set(),
        interval_s=0.01,
    )
    reaper.start()
    assert found.wait(30)
    reaper.stop()
    assert bench.get(job.id).state is JobState.QUEUED
