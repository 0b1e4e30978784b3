"""The rows: all-or-nothing acceptance, one way through the states, prompts that only their key can read."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from rushes.studio.jobs import (
    JobPrompt,
    JobState,
    JobStore,
    PromptUnreadableError,
    QueueDepth,
    Stage,
)
from rushes.studio.keys import InsufficientCreditsError, QuotaExceededError
from studio.claiming import claim_encoding, claim_generation
from studio.jobs.bench import WORKER, Bench


def test_an_accepted_job_is_there_with_its_stages_and_costs(bench: Bench) -> None:
    job = bench.accept(stages=(Stage("gateway", 5, 9),), parent_span_id="c" * 16)
    assert bench.store.get(job.id) == job
    assert bench.store.get(job.id, key_id=bench.key.id) == job
    assert bench.store.get(job.id, key_id="key_other") is None
    assert bench.store.prompt(job.id) == JobPrompt("a quiet lake", "blurry")
    assert bench.balance() == 97


def test_acceptance_is_all_or_nothing(bench: Bench) -> None:
    again = Stage("gateway", 1, 2)
    lost = bench.job(stages=(again, again))
    with pytest.raises(sa.exc.IntegrityError):
        bench.store.create(lost, key=bench.key, prompt=JobPrompt("x", ""))
    assert bench.store.get(lost.id) is None
    assert bench.balance() == 100
    with pytest.raises(LookupError):
        bench.store.prompt(lost.id)


def test_what_the_key_may_not_have_is_not_accepted(bench: Bench) -> None:
    poor, _ = bench.keys.create("poor", credits=2)
    with pytest.raises(InsufficientCreditsError):
        bench.accept(key=poor)
    limited, _ = bench.keys.create("limited", credits=100, quota_per_day=1)
    bench.accept(key=limited)
    with pytest.raises(QuotaExceededError):
        bench.accept(key=limited)
    assert bench.store.page(poor.id).jobs == []
    assert bench.balance(limited) == 97
    assert bench.store.waiting() == 1


def test_the_whole_way_with_its_times(bench: Bench) -> None:
    job = bench.accept()
    assert claim_encoding(bench.store, job.id, worker_id="encode-0", executor_id="encode-0.1.00000000")
    assert bench.get(job.id).worker_id == "encode-0"
    assert bench.store.enqueue_generation(bench.get(job.id))
    assert claim_generation(bench.store, job.id, **WORKER)
    assert not bench.store.set_progress(bench.get(job.id), 1)
    assert bench.store.start_generating(bench.get(job.id))
    assert bench.store.set_progress(bench.get(job.id), 5)
    bench.store.append_stage(bench.get(job.id), "dit_inference", 20, 30)
    bench.store.append_stage(bench.get(job.id), "worker_setup", 10, 20)
    assert bench.store.complete(bench.get(job.id), media="sha256/aa.mp4", size_bytes=9, credits_charged=2)
    done = bench.get(job.id)
    assert (done.state, done.step, done.media, done.size_bytes) == (JobState.COMPLETED, 5, "sha256/aa.mp4", 9)
    assert (done.worker_id, done.executor_id) == ("generate-0", "generate-0.1.00000000")
    times = [
        done.accepted_ns,
        done.encode_started_ns,
        done.assigned_ns,
        done.finished_ns,
    ]
    known = [time for time in times if time is not None]
    assert len(known) == 4
    assert known == sorted(known)
    assert done.stages == (Stage("worker_setup", 10, 20), Stage("dit_inference", 20, 30))
    assert (done.credits_reserved, done.credits_charged) == (3, 2)
    assert bench.balance() == 98


@pytest.mark.parametrize("end", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED])
def test_a_final_state_never_changes(bench: Bench, end: JobState) -> None:
    job = bench.accept()
    bench.advance(job.id, end)
    before = bench.get(job.id), bench.balance()
    assert not claim_encoding(bench.store, job.id, **WORKER)
    assert not bench.store.enqueue_generation(bench.get(job.id))
    assert not claim_generation(bench.store, job.id, **WORKER)
    assert not bench.store.start_generating(bench.get(job.id))
    assert not bench.store.set_progress(bench.get(job.id), 3)
    assert not bench.store.complete(bench.get(job.id), media="other", size_bytes=1)
    assert not bench.store.fail(job.id, code="c2", message="m2", reason="oom")
    assert not bench.store.cancel(job.id)
    assert (bench.get(job.id), bench.balance()) == before


@pytest.mark.parametrize(
    "state", [s for s in JobState if s not in {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}]
)
@pytest.mark.parametrize("end", [JobState.FAILED, JobState.CANCELLED])
def test_giving_up_gives_the_credits_back_from_any_state(
    bench: Bench, state: JobState, end: JobState
) -> None:
    job = bench.accept()
    bench.advance(job.id, state)
    assert bench.get(job.id).state is state
    bench.advance(job.id, end)
    ended = bench.get(job.id)
    assert (ended.state, ended.credits_charged) == (end, 0)
    assert ended.finished_ns is not None
    assert bench.balance() == 100


def test_states_are_not_skipped(bench: Bench) -> None:
    job = bench.accept()
    assert not bench.store.enqueue_generation(bench.get(job.id))
    assert not claim_generation(bench.store, job.id, **WORKER)
    assert not bench.store.start_generating(bench.get(job.id))
    assert not bench.store.complete(bench.get(job.id), media="m", size_bytes=1)
    assert claim_encoding(bench.store, job.id, **WORKER)
    assert not claim_encoding(bench.store, job.id, worker_id="encode-1", executor_id="encode-1.1.00000000")


def test_a_failure_is_told_with_code_message_and_reason(bench: Bench) -> None:
    job = bench.accept()
    assert bench.store.fail(job.id, code="out_of_memory", message="m" * 2000, reason="oom")
    failed = bench.get(job.id)
    assert (failed.error_code, failed.failure_reason) == ("out_of_memory", "oom")
    assert failed.error_message == "m" * 1000


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_prompts_are_in_no_byte_of_the_database(bench: Bench, engine: sa.Engine, tmp_path: Path) -> None:
    job = bench.accept(prompt="zebracanary in the snow")
    assert "zebracanary" not in repr(bench.store.prompt(job.id))
    engine.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert job.id.encode() in stored
    assert b"zebracanary" not in stored


def test_another_key_can_not_read_a_prompt(bench: Bench, engine: sa.Engine) -> None:
    job = bench.accept()
    other = JobStore(engine, prompt_key=Fernet.generate_key())
    with pytest.raises(PromptUnreadableError, match="another prompt key"):
        other.prompt(job.id)


def test_a_malformed_prompt_key_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(ValueError, match="32 url-safe"):
        JobStore(engine, prompt_key=b"short")


def test_pages_go_both_ways_and_end(bench: Bench) -> None:
    stranger, _ = bench.keys.create("stranger", credits=10)
    foreign = bench.accept(key=stranger)
    ids = [bench.accept().id for _ in range(5)]
    first = bench.store.page(bench.key.id, limit=2)
    assert ([job.id for job in first.jobs], first.has_more) == (ids[:2:-1], True)
    second = bench.store.page(bench.key.id, limit=3, after=first.jobs[-1].id)
    assert ([job.id for job in second.jobs], second.has_more) == ([ids[2], ids[1], ids[0]], False)
    oldest = bench.store.page(bench.key.id, limit=2, order="asc", after=ids[0])
    assert ([job.id for job in oldest.jobs], oldest.has_more) == ([ids[1], ids[2]], True)
    with pytest.raises(LookupError):
        bench.store.page(bench.key.id, after=foreign.id)


def test_jobs_accepted_at_once_are_all_listed(bench: Bench) -> None:
    ids = {bench.accept(accepted_ns=1_767_960_000_000_000_000).id for _ in range(4)}
    seen: list[str] = []
    after = None
    while len(seen) < 4:
        page = bench.store.page(bench.key.id, limit=1, after=after)
        seen += [job.id for job in page.jobs]
        after = seen[-1]
    assert set(seen) == ids


def test_deleting_forgets_finished_jobs_only(bench: Bench) -> None:
    job = bench.accept(stages=(Stage("gateway", 1, 2),))
    assert not bench.store.delete(job.id)
    bench.store.cancel(job.id)
    assert bench.store.delete(job.id)
    assert not bench.store.delete(job.id)
    assert bench.store.get(job.id) is None
    with pytest.raises(LookupError):
        bench.store.prompt(job.id)


def test_what_ends_a_job_gives_it_out_as_it_is_afterwards(bench: Bench) -> None:
    jobs = [bench.accept(stages=(Stage("gateway", 1, 2),)) for _ in range(3)]
    bench.advance(jobs[0].id, JobState.GENERATING)
    ended = [
        bench.store.complete(bench.get(jobs[0].id), media="sha256/aa.mp4", size_bytes=9),
        bench.store.fail(jobs[1].id, code="c", message="m", reason="internal"),
        bench.store.cancel(jobs[2].id),
    ]
    assert ended == [bench.get(job.id) for job in jobs]
    assert [job.stages for job in ended if job] == [(Stage("gateway", 1, 2),)] * 3


def test_the_depth_counts_what_is_unfinished(bench: Bench) -> None:
    assert bench.store.depth() == []
    states = [JobState.QUEUED, JobState.ENCODING, JobState.WAITING, JobState.GENERATING, JobState.COMPLETED]
    for state in states:
        bench.advance(bench.accept().id, state)
    free = bench.accept(tier="free", model="LTX2")
    assert bench.store.depth() == [
        QueueDepth("free", "LTX2", "waiting", 1),
        QueueDepth("standard", "MOCHI1", "generating", 1),
        QueueDepth("standard", "MOCHI1", "waiting", 3),
    ]
    assert bench.store.waiting() == 4
    bench.store.cancel(free.id)
    assert bench.store.waiting() == 3


def test_the_oldest_job_of_each_tier(bench: Bench) -> None:
    assert bench.store.oldest_ns() == {}
    running = bench.accept()
    bench.advance(running.id, JobState.GENERATING)
    waiting, _ = bench.accept(), bench.accept()
    bench.advance(bench.accept(tier="free").id, JobState.COMPLETED)
    assert bench.store.oldest_ns() == {
        ("standard", True): waiting.accepted_ns,
        ("standard", False): running.accepted_ns,
    }


def test_what_was_done_once_stays_shown(bench: Bench) -> None:
    job = bench.accept()
    bench.advance(job.id, JobState.GENERATING)
    for step, furthest in ((5, 5), (2, 5), (6, 6)):
        assert bench.store.set_progress(bench.get(job.id), step)
        assert (bench.get(job.id).step, bench.get(job.id).furthest_step) == (step, furthest)


def test_a_job_is_tried_again_later_and_not_for_ever(bench: Bench) -> None:
    job = bench.accept(accepted_ns=5)
    for number in (1, 2):
        bench.advance(job.id, JobState.GENERATING) if number == 1 else _render_again(bench, job.id)
        held = bench.get(job.id)
        stage = bench.store.retry(held, after_s=4.0, careful=number == 1, limit=2)
        assert stage is not None
        assert stage.name == "rushes.retried"
        assert not bench.store.set_progress(held, 4)
        back = bench.get(job.id)
        assert (back.state, back.retries, back.recoveries, back.careful) == (
            JobState.WAITING,
            number,
            0,
            True,
        )
        assert back.ready_ns == pytest.approx(bench.clock.now + 4 * 10**9, abs=10**6)
    _render_again(bench, job.id)
    assert bench.store.retry(bench.get(job.id), after_s=1.0, careful=False, limit=2) is None
    assert bench.get(job.id).state is JobState.GENERATING


def _render_again(bench: Bench, job_id: str) -> None:
    assert claim_generation(bench.store, job_id, **WORKER)
    assert bench.store.start_generating(bench.get(job_id))
