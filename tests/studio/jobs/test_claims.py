"""Jobs are taken by one worker each, in turn, on either database."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from rushes.studio.jobs import POLICIES, Claims, Job, JobState, TierPolicy, WorkerInfo
from rushes.studio.jobs.schedule import Queue
from rushes.studio.jobs.turns import hold_admission, hold_turns
from studio.claiming import claim_generation
from studio.jobs.bench import Bench

SECOND = 10**9


def claims(bench: Bench, worker_id: str = "w-0", **options: Any) -> Claims:
    executor = f"{worker_id}.1.00000000"
    return Claims(bench.store.engine, worker_id=worker_id, executor_id=executor, clock=bench.clock, **options)


def take(mine: Claims, queue: Queue = "encode", warm: tuple[str, ...] = ()) -> Job:
    job = mine.next(queue, warm)
    assert job is not None
    return job


def waiting(bench: Bench, **fields: Any) -> Job:
    job = bench.accept(**fields)
    bench.advance(job.id, JobState.WAITING)
    return bench.get(job.id)


def test_an_empty_queue_has_no_job(bench: Bench) -> None:
    mine = claims(bench)
    assert mine.next("encode") is None
    waiting(bench)
    assert mine.next("encode") is None


def test_what_is_taken_is_in_this_workers_hands(bench: Bench) -> None:
    accepted = bench.accept()
    job = take(claims(bench))
    assert job == bench.get(accepted.id)
    assert (job.state, job.worker_id, job.executor_id) == (JobState.ENCODING, "w-0", "w-0.1.00000000")
    assert (job.attempt, job.encode_started_ns is None) == (1, False)
    bench.store.enqueue_generation(job)
    rendering = take(claims(bench, "w-1"), "generate")
    assert (rendering.state, rendering.worker_id, rendering.attempt) == (JobState.ASSIGNED, "w-1", 2)
    assert rendering.assigned_ns is not None


def test_the_order_of_tiers_and_ages(bench: Bench) -> None:
    jobs = {name: bench.accept(tier=name) for name in ("free", "premium", "realtime")}
    older = bench.accept(tier="free", accepted_ns=bench.clock() - 60 * SECOND)
    order = [take(claims(bench)).id for _ in range(4)]
    assert order == [jobs["realtime"].id, jobs["premium"].id, older.id, jobs["free"].id]


def test_many_workers_at_once_take_each_job_once(bench: Bench) -> None:
    accepted = {
        bench.accept(credits_reserved=0, tier=tier).id for tier in ("premium", "free") for _ in range(30)
    }

    def take_all(number: int) -> list[str]:
        mine = claims(bench, f"w-{number}")
        found = []
        while (job := mine.next("encode")) is not None:
            found.append(job.id)
        return found

    with ThreadPoolExecutor(6) as pool:
        taken = [job_id for found in pool.map(take_all, range(6)) for job_id in found]
    assert Counter(taken) == Counter(accepted)
    assert {bench.get(job_id).attempt for job_id in accepted} == {1}


def test_shares_follow_weights_and_render_times(bench: Bench) -> None:
    """Premium renders take twice as long as free ones: eight times the time is four times the videos."""
    done = {"premium": (2.0, 16), "free": (1.0, 8)}
    for tier, (seconds, steps) in done.items():
        one = waiting(bench, tier=tier, steps=steps, credits_reserved=0)
        claim_generation(bench.store, one.id, worker_id="w", executor_id="w.1.00000000")
        assert bench.store.start_generating(bench.get(one.id))
        bench.clock.now += round(seconds * SECOND)
        assert bench.store.complete(bench.get(one.id), media="m", size_bytes=1)
    for tier, (_, steps) in done.items():
        for _ in range(20):
            waiting(bench, tier=tier, steps=steps, credits_reserved=0)
    mine = claims(bench)
    taken = Counter(take(mine, "generate").tier for _ in range(20))
    assert taken == {"premium": 16, "free": 4}


def test_a_job_that_is_to_be_tried_later_waits(bench: Bench) -> None:
    job = waiting(bench)
    held = take(claims(bench), "generate")
    assert bench.store.retry(held, after_s=3.0, careful=False, limit=1)
    assert claims(bench).next("generate") is None
    bench.clock.now += 3 * SECOND
    assert take(claims(bench), "generate").id == job.id


def test_a_cancelled_job_is_not_taken(bench: Bench) -> None:
    job = bench.accept()
    bench.store.cancel(job.id)
    assert claims(bench).next("encode") is None


def test_a_realtime_worker_and_a_tiers_limit(bench: Bench) -> None:
    for tier in ("premium", "premium", "free"):
        waiting(bench, tier=tier)
    assert claims(bench, realtime=True).next("generate") is None
    policies = {**POLICIES, "premium": TierPolicy(weight=8, max_running=1)}
    mine = claims(bench, policies=policies)
    assert [take(mine, "generate").tier for _ in range(2)] == ["premium", "free"]
    assert mine.next("generate") is None
    fast = waiting(bench, tier="realtime")
    assert take(claims(bench, realtime=True), "generate").id == fast.id


def test_a_warm_worker_elsewhere_is_given_its_second(bench: Bench) -> None:
    other = WorkerInfo(
        worker_id="w-1",
        executor_id="w-1.1.00000000",
        pid=1,
        role="generate",
        state="idle",
        warm=("MOCHI1",),
    )
    bench.workers.publish(other)
    job = waiting(bench)
    mine = claims(bench)
    assert mine.next("generate") is None
    assert mine.next("generate", {"MOCHI1"}) is not None
    bench.store.recover(bench.get(job.id))
    assert mine.next("generate") is None
    bench.workers.publish(replace(other, state="generating"))
    assert mine.next("generate") is not None
    bench.store.recover(bench.get(job.id))
    bench.workers.publish(other)
    assert mine.next("generate") is None
    bench.clock.now += 4 * SECOND  # it has not been heard of since, nor has it taken the job
    assert mine.next("generate") is not None


@pytest.mark.parametrize("age_s", [10, 30])
def test_a_model_in_memory_goes_before_within_patience(bench: Bench, age_s: int) -> None:
    now = bench.clock()
    cold = waiting(bench, model="LTX2", accepted_ns=now - age_s * SECOND)
    warm = waiting(bench, model="MOCHI1", accepted_ns=now)
    taken = take(claims(bench), "generate", ("MOCHI1",))
    assert taken.id == (warm.id if age_s == 10 else cold.id)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_process_that_stands_still_with_its_turn_in_hand_is_not_waited_for(
    bench: Bench, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.studio.jobs.turns.STANDS_STILL_MS", 200)
    job = bench.accept()
    with engine.connect() as stopped, engine.begin() as conn, ThreadPoolExecutor(1) as pool:
        hold_turns(stopped, "encode")
        hold_admission(stopped)
        taken = pool.submit(take, claims(bench)).result(60)
        hold_admission(conn)
        assert taken.id == job.id
        with pytest.raises(DBAPIError):
            stopped.execute(sa.select(1))
