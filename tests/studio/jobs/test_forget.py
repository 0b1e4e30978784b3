"""Deleted means gone: no byte of a prompt, not even encrypted, is left in the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from rushes.studio.jobs import JobState, cut_log, forget_prompts
from studio.jobs.bench import Bench

# Of its own file: what PostgreSQL leaves on its server's disk is its server's.
pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _only_where_we_own_the_files(bench: Bench) -> None:
    if bench.store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has ways of its own to let go of deleted rows")


def _ciphertext(bench: Bench, job_id: str) -> bytes:
    with bench.store.engine.connect() as conn:
        query = sa.text("SELECT encrypted FROM job_prompts WHERE job_id = :id")
        return bytes(conn.execute(query, {"id": job_id}).scalar_one())


def _found(folder: Path, ciphertext: bytes) -> list[str]:
    """The files that hold any piece of it: a page may hold a part of a long one."""
    pieces = [ciphertext[at : at + 64] for at in range(0, len(ciphertext) - 63, 64)]
    assert pieces
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(piece in path.read_bytes() for piece in pieces)
    ]


@pytest.mark.parametrize("length", [20, 5000])  # in the row's page, and in pages of its own
@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED])
def test_nothing_of_a_deleted_prompt_is_left(
    bench: Bench, tmp_path: Path, state: JobState, length: int
) -> None:
    others = [bench.accept(prompt=f"another {n} " * 20) for n in range(3)]
    job = bench.accept(prompt="canary " * (length // 7))
    bench.advance(job.id, state)
    ciphertext, kept = _ciphertext(bench, job.id), _ciphertext(bench, others[0].id)
    assert _found(tmp_path, ciphertext)
    assert bench.store.delete(job.id)
    assert _found(tmp_path, ciphertext) == []
    assert _found(tmp_path, kept)
    with bench.store.engine.connect() as conn:
        for table in ("jobs", "job_prompts", "job_stages", "job_operations", "job_compute"):
            column = "id" if table == "jobs" else "job_id"
            query = sa.text(f"SELECT count(*) FROM {table} WHERE {column} = :id")
            assert conn.execute(query, {"id": job.id}).scalar_one() == 0, table


def test_a_log_that_somebody_reads_is_cut_later(bench: Bench, tmp_path: Path) -> None:
    job = bench.accept(prompt="canary " * 20)
    bench.advance(job.id, JobState.COMPLETED)
    ciphertext = _ciphertext(bench, job.id)
    with bench.store.engine.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT * FROM jobs").all()
        assert bench.store.delete(job.id)  # it does not fail for that
        assert _found(tmp_path, ciphertext)
    assert cut_log(bench.store.engine)
    assert _found(tmp_path, ciphertext) == []


def test_prompts_of_jobs_that_ended_long_ago_go(bench: Bench, tmp_path: Path) -> None:
    old, waiting, young = (bench.accept(prompt=f"canary {n} " * 20) for n in range(3))
    bench.advance(old.id, JobState.FAILED)
    then = bench.clock()
    bench.advance(young.id, JobState.CANCELLED)
    ciphertext = _ciphertext(bench, old.id)
    assert forget_prompts(bench.store.engine, ended_before_ns=then) == 1
    assert _found(tmp_path, ciphertext) == []
    assert forget_prompts(bench.store.engine, ended_before_ns=then) == 0
    with pytest.raises(LookupError):
        bench.store.prompt(old.id)
    assert bench.get(old.id).state is JobState.FAILED
    for job in (waiting, young):
        assert "canary" in bench.store.prompt(job.id).text
