"""What the workers are doing, as the gateway reports it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.settings import SettingsError, load
from rushes.studio.board import Board, WorkerInfo
from rushes.studio.jobs import WorkerLock
from rushes.studio.scratch import sweep
from rushes.studio.secret_files import development_secret, prompt_key


def _counts(board: Board) -> dict[str, float]:
    return {labels["status"]: value for value, labels in board.count()}


def test_a_worker_is_what_it_says_while_it_lives(tmp_path: Path) -> None:
    board = Board(tmp_path)
    with WorkerLock(tmp_path, "generate-0", "generate") as lock:
        info = WorkerInfo("generate-0", "generate", lock.executor_id, os.getpid(), "idle", "http://x/metrics")
        board.publish(info)
        assert board.workers() == [info]
        board.publish(replace(info, devices="GPU-1a2b"))
        assert [w.devices for w in board.workers()] == ["GPU-1a2b"]
        board.publish(replace(info, state="generating"))
        assert _counts(board) == {"loading": 0, "idle": 0, "generating": 1, "draining": 0, "offline": 0}
        status = {labels["status"]: value for value, labels in board.status()}
        assert (status["generating"], status["idle"], status["healthy"]) == (1, 0, 1)
    # The lock is gone, as after a kill -9: whatever it wrote last, it is offline.
    assert _counts(board)["offline"] == 1
    assert {labels["status"]: v for v, labels in board.status()}["healthy"] == 0
    board.withdraw("generate-0")
    assert board.workers() == []


def test_the_scratch_folders_of_ended_and_unknown_jobs_are_swept(tmp_path: Path) -> None:
    class Store:
        """Knows which job is still under way."""

        def get(self, job_id: str) -> object:
            ended = {"video_running": False, "video_ended": True}.get(job_id)
            return None if ended is None else type("Job", (), {"terminal": ended})()

    for name in ("video_running", "video_ended", "video_unknown"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "encoded.safetensors").write_bytes(b"x")
    assert sorted(sweep(tmp_path, Store())) == ["video_ended", "video_unknown"]  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["video_running"]
    assert sweep(tmp_path / "nowhere", Store()) == []  # type: ignore[arg-type]


def test_half_a_file_is_no_worker(tmp_path: Path) -> None:
    (tmp_path / "generate-0.json").write_text('{"worker_id": ')
    assert Board(tmp_path).workers() == []


def test_keys_are_made_once_and_are_their_users_alone(tmp_path: Path) -> None:
    settings = load(config_dir=tmp_path / "config", data_dir=tmp_path / "data")
    assert prompt_key(settings) == prompt_key(settings)
    assert development_secret(settings).startswith("rk_")
    assert {oct(p.stat().st_mode & 0o777) for p in (tmp_path / "config").iterdir()} == {"0o600"}
    (tmp_path / "config" / "prompt.key").write_text("short")
    with pytest.raises(SettingsError, match=r"prompt\.key does not hold a prompt key"):
        prompt_key(settings)
