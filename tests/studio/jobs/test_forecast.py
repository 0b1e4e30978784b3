"""What waits is told when it will begin, and what is too much is told when to come again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from rushes.studio.jobs import POLICIES, Job, JobState, Outlook, QueueFullError, TierPolicy, WorkerInfo
from rushes.studio.jobs.rows import COLUMNS
from rushes.studio.jobs.table import jobs
from studio.claiming import claim_generation
from studio.jobs.bench import Bench

SECOND = 10**9


def _outlook(bench: Bench, **options: Any) -> Outlook:
    return Outlook(bench.store.engine, clock=bench.clock, monotonic=lambda: bench.clock() / 1e9, **options)


def _worker(bench: Bench, number: int = 0) -> str:
    executor = f"w-{number}.1.00000000"
    bench.workers.publish(
        WorkerInfo(worker_id=f"w-{number}", executor_id=executor, pid=1, role="generate", state="idle")
    )
    return executor


def _rendered(bench: Bench, seconds: float) -> None:
    """A video was made in so many seconds."""
    job = bench.accept()
    bench.advance(job.id, JobState.GENERATING)
    bench.clock.now += round(seconds * SECOND)
    assert bench.store.complete(bench.get(job.id), media="m", size_bytes=1)


def _start_s(outlook: Outlook, job: Job, bench: Bench) -> float:
    place = outlook.place(job)
    assert place is not None
    assert place.start_ns is not None
    return (place.start_ns - bench.clock.now) / SECOND


def test_a_waiting_jobs_place_and_start(bench: Bench) -> None:
    _rendered(bench, 10.0)
    executor = _worker(bench)
    running = bench.accept()
    bench.advance(running.id, JobState.WAITING)
    assert claim_generation(bench.store, running.id, worker_id="w-0", executor_id=executor)
    bench.clock.now += 4 * SECOND
    _worker(bench)
    first, second, long = bench.accept(), bench.accept(tier="free"), bench.accept(steps=16)
    outlook = _outlook(bench)
    assert outlook.place(bench.get(running.id)) is None
    assert _start_s(outlook, first, bench) == pytest.approx(6, abs=0.01)
    assert _start_s(outlook, second, bench) == pytest.approx(16, abs=0.01)
    assert _start_s(outlook, long, bench) == pytest.approx(26, abs=0.01)
    assert [outlook.place(job).position for job in (first, second, long)] == [1, 2, 3]  # type: ignore[union-attr]
    later = bench.accept()  # longer than a second ago or not: it is in the picture at once
    assert _start_s(outlook, later, bench) == pytest.approx(46, abs=0.01)


def test_a_start_that_can_not_be_known_is_not_told(bench: Bench) -> None:
    job, other = bench.accept(), bench.accept(model="LTX2", tier="free")
    outlook = _outlook(bench)
    assert outlook.place(job) == (1, None)  # no worker, no render yet
    _rendered(bench, 10.0)
    bench.clock.now += 2 * SECOND
    assert outlook.place(job) == (1, None)  # no worker
    _worker(bench)
    bench.clock.now += 2 * SECOND
    assert outlook.place(job) == (1, None)  # and nobody knows how long LTX2 takes
    bench.store.cancel(other.id)
    bench.clock.now += 2 * SECOND
    assert _start_s(outlook, job, bench) == pytest.approx(0, abs=0.01)
    bench.clock.now += 20 * SECOND
    assert outlook.place(job) == (1, None)  # the worker has fallen silent


def test_a_full_tier_and_a_full_queue(bench: Bench) -> None:
    policies = {**POLICIES, "free": TierPolicy(weight=1, max_queued=2)}
    outlook = _outlook(bench, policies=policies, max_queued=4)
    _rendered(bench, 10.0)
    _worker(bench)
    free = [bench.accept(tier="free") for _ in range(2)]
    assert outlook.full("standard") is None
    full = outlook.full("free")
    assert full is not None
    assert full.depth == 2
    assert full.retry_after_s == pytest.approx(0, abs=0.01)  # the first begins at once
    bench.advance(free[0].id, JobState.GENERATING)
    assert outlook.full("free") is None
    for _ in range(3):
        bench.accept(tier="premium")
    everybody = outlook.full("premium")
    assert everybody is not None
    assert everybody.depth == 4


def test_of_two_that_come_at_once_one_is_admitted(bench: Bench, engine: sa.Engine) -> None:
    outlook = _outlook(bench, max_queued=1)
    with engine.begin() as conn, ThreadPoolExecutor(1) as pool:
        outlook.admit(conn, "premium")

        def second() -> None:
            with engine.begin() as other:
                outlook.admit(other, "premium")

        waits = pool.submit(second)
        job = bench.job()
        conn.execute(sa.insert(jobs).values({name: getattr(job, name) for name in COLUMNS}))
        conn.commit()
        with pytest.raises(QueueFullError, match="1 videos are waiting, 1 may"):
            waits.result()


def test_a_queue_that_has_filled_up_since_it_was_looked_at(bench: Bench) -> None:
    _rendered(bench, 10.0)
    _worker(bench)
    outlook = _outlook(bench, max_queued=3)
    assert outlook.place(bench.accept()) is not None
    for _ in range(3):
        last = bench.accept()
    full = outlook.full("premium")
    assert full is not None
    assert full.retry_after_s == pytest.approx(10, abs=0.01)  # two have to begin: the second in 10 s
    assert _start_s(outlook, last, bench) == pytest.approx(30, abs=0.01)


def test_retry_after_is_five_seconds_when_nothing_is_known(bench: Bench) -> None:
    outlook = _outlook(bench, max_queued=1)
    bench.accept()
    assert outlook.full("premium") == (1, 5.0)
