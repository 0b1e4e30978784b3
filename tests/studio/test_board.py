"""What the workers are doing, as the gateway reports it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from rushes.settings import SettingsError, load
from rushes.studio.board import Board
from rushes.studio.jobs import FileLiveness, WorkerInfo, WorkerLock, Workers, open_database
from rushes.studio.scratch import sweep
from rushes.studio.secret_files import development_secret, prompt_key


def _counts(board: Board) -> dict[str, float]:
    return {labels["status"]: value for value, labels in board.count()}


def test_a_worker_is_what_it_says_while_it_lives(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/studio.db")
    now = [1_000 * 10**9]
    workers = Workers(engine, lambda: now[0])
    board = Board(workers, FileLiveness(tmp_path), lease_s=15, clock=lambda: now[0])
    with WorkerLock(tmp_path, "generate-0", "generate") as lock:
        info = WorkerInfo(
            worker_id="generate-0",
            executor_id=lock.executor_id,
            pid=os.getpid(),
            role="generate",
            state="idle",
            warm=("LTX2", "MOCHI1"),
            devices="GPU-1a2b",
            metrics="http://x/metrics",
        )
        elsewhere = replace(info, worker_id="far-0", executor_id="far-0.7.00000000", host="far")
        for one in (info, elsewhere):
            workers.publish(one)
        assert board.workers() == [replace(elsewhere, seen_ns=now[0]), replace(info, seen_ns=now[0])]
        workers.publish(replace(info, state="generating"))
        assert _counts(board) == {"loading": 0, "idle": 1, "generating": 1, "draining": 0, "offline": 0}
        status = {labels["status"]: v for v, labels in board.status() if labels["worker_id"] == "generate-0"}
        assert (status["generating"], status["idle"], status["healthy"]) == (1, 0, 1)
        now[0] += 16 * 10**9  # both silent for longer than their lease
        assert _counts(board)["offline"] == 2
        for one in (info, elsewhere):
            workers.publish(one)
        assert _counts(board)["offline"] == 0
    # The lock is gone, as after a kill -9: whatever it wrote last, it is offline.
    assert [w.state for w in board.workers()] == ["idle", "offline"]
    with WorkerLock(tmp_path, "generate-0", "generate") as again:
        workers.publish(replace(info, executor_id=again.executor_id))
        assert [w.executor_id for w in workers.all()] == [elsewhere.executor_id, again.executor_id]
    workers.withdraw(again.executor_id)
    now[0] += 86_401 * 10**9
    workers.forget(86_400)
    assert board.workers() == []
    engine.dispose()


def test_the_last_word_stands_while_the_database_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/studio.db")
    workers = Workers(engine)
    far = WorkerInfo(worker_id="far-0", executor_id="far-0.7.00000000", pid=7, role="all", state="idle")
    workers.publish(far)
    board = Board(workers, FileLiveness(tmp_path), lease_s=15)
    (known,) = board.workers()

    def refuse() -> list[WorkerInfo]:
        raise OperationalError("SELECT", {}, Exception("the server is gone"))

    monkeypatch.setattr(workers, "all", refuse)
    assert board.workers() == [known]
    engine.dispose()


def test_the_scratch_folders_of_ended_and_unknown_jobs_are_swept(tmp_path: Path) -> None:
    running, ended, unknown = (f"video_{digit * 32}" for digit in "abc")
    theirs = "video_of_somebody_else"  # who keeps it where the settings say that scratch is

    class Store:
        """Knows which job is still under way."""

        def get(self, job_id: str) -> object:
            known = {running: False, ended: True}
            return type("Job", (), {"terminal": known[job_id]})() if job_id in known else None

    for name in (running, ended, unknown, theirs):
        (tmp_path / name).mkdir()
        (tmp_path / name / "encoded.safetensors").write_bytes(b"x")
    assert sorted(sweep(tmp_path, Store())) == [ended, unknown]  # type: ignore[arg-type]
    assert sorted(p.name for p in tmp_path.iterdir()) == [running, theirs]
    assert sweep(tmp_path / "nowhere", Store()) == []  # type: ignore[arg-type]


def test_keys_are_made_once_and_are_their_users_alone(tmp_path: Path) -> None:
    settings = load(config_dir=tmp_path / "config", data_dir=tmp_path / "data")
    assert prompt_key(settings) == prompt_key(settings)
    assert development_secret(settings).startswith("rk_")
    assert {oct(p.stat().st_mode & 0o777) for p in (tmp_path / "config").iterdir()} == {"0o600"}
    (tmp_path / "config" / "prompt.key").write_text("short")
    with pytest.raises(SettingsError, match=r"prompt\.key does not hold a prompt key"):
        prompt_key(settings)
