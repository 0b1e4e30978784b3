"""The reaper on rows alone: whom it ends, whom it puts back, whom it leaves alone, and that it tells of each once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rushes.studio.jobs import FileLiveness, Job, JobState, Reaper, Stage, WorkerLock
from studio.jobs.bench import WORKER, Bench


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
    """A reaper with a grace of 30 s, its clock, and whom it told of."""

    reaper: Reaper
    seconds: Seconds
    lost: list[Job]
    recovered: list[str]


@pytest.fixture
def watch(bench: Bench, liveness: FileLiveness) -> Watch:
    seconds, lost, recovered = Seconds(), list[Job](), list[str]()
    reaper = Reaper(
        bench.store,
        bench.submitter,
        liveness,
        on_lost=lost.append,
        on_recovered=lambda job, _stage: recovered.append(job.id),
        clock=seconds,
    )
    return Watch(reaper, seconds, lost, recovered)


@pytest.fixture
def living(tmp_path: Path) -> WorkerLock:
    return WorkerLock(tmp_path / "workers", "all-0", "all")


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.WAITING])
def test_a_stray_that_was_not_begun_is_enqueued_again_after_its_grace(
    bench: Bench, watch: Watch, state: JobState
) -> None:
    reaper, seconds, lost, _ = watch
    stray, other = bench.accept(), bench.accept()
    for job in (stray, other):
        bench.advance(job.id, state)
    bench.submitter.forget(stray.id)
    for passed in (0.0, 29.0):
        seconds.now += passed
        assert reaper.sweep() == []
        assert bench.submitter.active() == {other.id}
    seconds.now += 1.0
    assert reaper.sweep() == []
    assert bench.submitter.active() == {stray.id, other.id}
    assert (bench.get(stray.id).state, lost) == (state, [])
    seconds.now += 100.0
    assert reaper.sweep() == []
    assert bench.balance() == 94


@pytest.mark.parametrize(
    ("state", "back"),
    [
        (JobState.ENCODING, JobState.QUEUED),
        (JobState.ASSIGNED, JobState.WAITING),
        (JobState.GENERATING, JobState.WAITING),
    ],
)
def test_a_stray_in_a_living_workers_name_goes_back_and_is_told_once(
    bench: Bench, watch: Watch, living: WorkerLock, state: JobState, back: JobState
) -> None:
    reaper, seconds, lost, _ = watch
    stray = bench.accept()
    holder = {"worker_id": living.worker_id, "executor_id": living.executor_id}
    assert bench.store.claim_encoding(stray.id, **holder)
    if state is not JobState.ENCODING:
        assert bench.store.enqueue_generation(bench.get(stray.id), bench.submitter.enqueue)
        assert bench.store.claim_generation(stray.id, **holder)
    if state is JobState.GENERATING:
        assert bench.store.start_generating(bench.get(stray.id))
    seconds.now += 1000.0
    assert reaper.sweep() == []
    seconds.now += 1000.0
    assert reaper.sweep() == []  # it is on a queue
    bench.submitter.forget(stray.id)
    assert reaper.sweep() == []
    seconds.now += 30.0
    assert reaper.sweep() == lost == []
    after = bench.get(stray.id)
    assert (after.state, after.recoveries) == (back, 1)
    assert watch.recovered == [stray.id]
    assert bench.submitter.active() == {stray.id}
    assert bench.balance() == 97
    living.release()


def test_a_job_that_moves_on_begins_its_grace_anew(bench: Bench, watch: Watch, living: WorkerLock) -> None:
    reaper, seconds, _, _ = watch
    job = bench.accept()
    bench.submitter.forget(job.id)
    assert reaper.sweep() == []
    seconds.now += 29.0
    assert bench.store.claim_encoding(job.id, worker_id="all-0", executor_id=living.executor_id)
    assert reaper.sweep() == []
    seconds.now += 29.0
    assert reaper.sweep() == []
    assert bench.store.cancel(job.id)
    seconds.now += 29.0
    assert reaper.sweep() == []
    assert bench.get(job.id).state is JobState.CANCELLED
    living.release()


@pytest.mark.parametrize("options", [{"unknown_is_dead": False}, {"unknown_is_dead": True}, {}])
def test_workers_on_other_hosts_are_left_alone_where_there_can_be_any(
    bench: Bench, liveness: FileLiveness, tmp_path: Path, options: dict[str, Any]
) -> None:
    here, elsewhere = bench.accept(), bench.accept()
    with WorkerLock(tmp_path / "workers", "generate-0", "all") as ended:
        assert bench.store.claim_encoding(here.id, worker_id="generate-0", executor_id=ended.executor_id)
    assert bench.store.claim_encoding(elsewhere.id, **WORKER)
    reaper = Reaper(bench.store, bench.submitter, liveness, on_lost=lambda _: None, **options)
    assert reaper.sweep() == []
    lost = {job.id for job in (here, elsewhere) if bench.get(job.id).recoveries}
    # By default they are not: this database is SQLite, which only this host's processes can share.
    assert lost == ({here.id, elsewhere.id} if options.get("unknown_is_dead", True) else {here.id})


def test_a_listener_that_fails_does_not_stop_the_reaper(
    bench: Bench, liveness: FileLiveness, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_job: Job) -> None:
        raise OSError("nobody listens")

    def broken_too(_job: Job, _stage: Stage) -> None:
        raise OSError("nobody listens")

    jobs = [bench.accept(), bench.accept()]
    for job in jobs:
        assert bench.store.claim_encoding(job.id, worker_id="gone", executor_id="gone.1.00000000")
    reaper = Reaper(bench.store, bench.submitter, liveness, on_lost=broken, on_recovered=broken_too)
    assert reaper.sweep() == []
    assert {bench.get(job.id).state for job in jobs} == {JobState.QUEUED}
    assert "nobody listens" in caplog.text


def test_the_reapers_thread_sweeps_by_itself(bench: Bench, liveness: FileLiveness) -> None:
    found = threading.Event()
    job = bench.accept()
    assert bench.store.claim_encoding(job.id, worker_id="gone", executor_id="gone.1.00000000")
    reaper = Reaper(
        bench.store,
        bench.submitter,
        liveness,
        on_lost=print,
        on_recovered=lambda *_: found.set(),
        interval_s=0.01,
    )
    reaper.start()
    assert found.wait(30)
    reaper.stop()
    assert bench.get(job.id).state is JobState.QUEUED
