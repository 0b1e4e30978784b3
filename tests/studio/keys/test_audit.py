"""The audit finds nothing in what the studio does, in any order, and everything that somebody breaks."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from rushes.studio.jobs import Job, JobState, JobStore, Workers, open_database
from rushes.studio.keys import InsufficientCreditsError, KeyStore, audit
from studio.claiming import claim_encoding, claim_generation
from studio.jobs.bench import WORKER, Bench, Clock


def _bench(folder: Path) -> Bench:
    engine = open_database(f"sqlite:///{folder}/studio.db")
    keys = KeyStore(engine)
    key, _ = keys.create("ci", tier="realtime", credits=100)
    store = JobStore(engine, prompt_key=Fernet.generate_key(), clock=(clock := Clock()))
    return Bench(store, Workers(engine, clock), keys, key, clock)


class Interleaved(RuleBasedStateMachine):
    """Everything that may happen to jobs, whenever it may or may not; the credits are kept beside, by hand."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.bench = _bench(Path(self.folder.name))
        self.store = self.bench.store
        self.other, _ = self.bench.keys.create("other", tier="free", credits=20)
        self.left = {self.bench.key.id: 100, self.other.id: 20}

    def teardown(self) -> None:
        self.store.engine.dispose()
        self.folder.cleanup()

    @rule(target=jobs, whose=st.sampled_from(["ci", "other"]), cost=st.integers(0, 9))
    def create(self, whose: str, cost: int) -> str:
        key = self.bench.key if whose == "ci" else self.other
        try:
            job = self.bench.accept(key=key, credits_reserved=cost)
        except InsufficientCreditsError:
            assert self.left[key.id] < cost
            return "video_never_accepted"
        self.left[key.id] -= cost
        return job.id

    @rule(job_id=jobs)
    def render(self, job_id: str) -> None:
        self.encode(job_id)
        self.pass_on(job_id)
        self.assign(job_id)

    @rule(job_id=jobs)
    def encode(self, job_id: str) -> None:
        claim_encoding(self.store, job_id, **WORKER)

    @rule(job_id=jobs)
    def pass_on(self, job_id: str) -> None:
        if job := self.store.get(job_id):
            self.store.enqueue_generation(job)

    @rule(job_id=jobs)
    def assign(self, job_id: str) -> None:
        if job := claim_generation(self.store, job_id, **WORKER):
            self.store.start_generating(job)

    @rule(job_id=jobs, charged=st.integers(0, 9))
    def complete(self, job_id: str, charged: int) -> None:
        if (job := self.store.get(job_id)) is None:
            return
        charged = min(charged, job.credits_reserved)
        if self.store.complete(job, media="sha256/aa.mp4", size_bytes=1, credits_charged=charged):
            self.left[job.key_id] += job.credits_reserved - charged

    @rule(job_id=jobs, who=st.sampled_from(["its worker", "the reaper"]))
    def fail(self, job_id: str, who: str) -> None:
        held = self.store.get(job_id) if who == "its worker" else None
        self._refunded(self.store.fail(job_id, code="c", message="m", reason="internal", held=held))

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        self._refunded(self.store.cancel(job_id))

    @rule(job_id=jobs, why=st.sampled_from(["lost", "drained"]))
    def recover(self, job_id: str, why: str) -> None:
        if job := self.store.get(job_id):
            self.store.recover(job, lost=why == "lost")

    @rule(job_id=consumes(jobs))
    def delete(self, job_id: str) -> None:
        self.store.delete(job_id)

    @rule(amount=st.integers(1, 5))
    def grant(self, amount: int) -> None:
        self.bench.keys.grant(self.other.id, amount)
        self.left[self.other.id] += amount

    @invariant()
    def all_is_well(self) -> None:
        assert audit(self.store.engine) == []
        assert {key.id: key.credits for key in self.bench.keys.list_all()} == self.left

    def _refunded(self, ended: Job | None) -> None:
        if ended is not None:
            self.left[ended.key_id] += ended.credits_reserved


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize(
    ("statement", "kinds", "said"),
    [
        ("UPDATE api_keys SET credits = credits + 1", {"balance"}, "balance is 95 credits, its ledger adds up to 94"),
        ("DELETE FROM credit_ledger WHERE kind = 'grant'", {"balance"}, "adds up to -6"),
        ("DELETE FROM credit_ledger WHERE job_id = :done", {"balance", "reserve"}, "nothing was reserved"),
        ("DELETE FROM credit_ledger WHERE kind = 'settle'", {"end"}, "has 0 charges and 0 refunds"),
        ("DELETE FROM credit_ledger WHERE kind = 'refund'", {"balance", "end"}, "has 0 charges and 0 refunds"),
        ("UPDATE jobs SET state = 'generating', credits_charged = NULL WHERE id = :done", {"end"}, "already"),
        ("UPDATE jobs SET credits_charged = 1 WHERE id = :open", {"end"}, "charged or refunded already"),
        ("UPDATE jobs SET credits_charged = 2 WHERE id = :done", {"end"}, "2 were charged and 0 given back"),
        ("UPDATE jobs SET credits_charged = 1 WHERE id = :gone", {"end"}, "charged 1 credits"),
        ("UPDATE jobs SET credits_reserved = 4 WHERE id = :open", {"reserve"}, "3 credits are reserved in the ledger"),
        ("UPDATE jobs SET key_id = 'key_x' WHERE id = :done", {"key"}, "it is key_x's"),
        ("UPDATE credit_ledger SET key_id = 'key_x' WHERE job_id = :open", {"balance", "key"}, "does not exist"),
        ("INSERT INTO credit_ledger (key_id, job_id, kind, amount, at_ns) SELECT key_id, job_id, 'refund', 0, 1"
         " FROM credit_ledger WHERE kind = 'settle'", {"end"}, "has 1 charges and 1 refunds"),
        ("DELETE FROM jobs WHERE id = :open", {"end"}, "is deleted and has 0 charges and 0 refunds"),
    ],
)  # fmt: skip
def test_what_is_broken_is_found(tmp_path: Path, statement: str, kinds: set[str], said: str) -> None:
    bench = _bench(tmp_path)
    jobs = {}
    for name, state in (
        ("open", JobState.WAITING),
        ("done", JobState.COMPLETED),
        ("gone", JobState.CANCELLED),
        ("deleted", JobState.COMPLETED),
    ):
        job = bench.accept(credits_reserved=0 if name == "deleted" else 3)
        bench.advance(job.id, state)
        jobs[name] = job.id
    assert bench.store.delete(jobs["deleted"])
    assert audit(bench.store.engine) == []
    with bench.store.engine.begin() as conn:
        conn.execute(sa.text(statement), {k: v for k, v in jobs.items() if f":{k}" in statement})
    found = audit(bench.store.engine)
    assert {d.kind for d in found} == kinds
    assert any(said in d.text for d in found), found
    assert all(d.subject in {*jobs.values(), bench.key.id, "key_x"} for d in found)
    bench.store.engine.dispose()
