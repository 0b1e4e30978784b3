"""Locks tell the living from the dead, and a restarted worker from its predecessor."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rushes.studio.jobs import FileLiveness, WorkerBusyError, WorkerLock


def test_a_worker_lives_while_it_holds_its_lock(tmp_path: Path) -> None:
    liveness = FileLiveness(tmp_path)
    with WorkerLock(tmp_path, "generate-0", "generate") as lock:
        assert liveness.alive(lock.executor_id)
        holder = json.loads((tmp_path / "generate-0.lock").read_text())
        assert (holder["pid"], holder["role"]) == (os.getpid(), "generate")
        assert holder["started"]
    assert not liveness.alive(lock.executor_id)


def test_two_workers_can_not_have_one_id(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "generate-0", "generate")
    with pytest.raises(WorkerBusyError, match=rf"already running \(pid {os.getpid()}\)"):
        WorkerLock(tmp_path, "generate-0", "generate")
    assert FileLiveness(tmp_path).alive(lock.executor_id)
    lock.release()


def test_a_restarted_worker_is_another_process(tmp_path: Path) -> None:
    liveness = FileLiveness(tmp_path)
    with WorkerLock(tmp_path, "generate-0", "generate") as before:
        pass
    with WorkerLock(tmp_path, "generate-0", "generate") as after:
        assert not liveness.alive(before.executor_id)
        assert liveness.alive(after.executor_id)


@pytest.mark.parametrize(
    "executor_id", ["", "generate-0", "../etc/passwd.1.00000000", "generate-0.1.00000000"]
)
def test_who_never_had_a_lock_is_dead(tmp_path: Path, executor_id: str) -> None:
    assert not FileLiveness(tmp_path).alive(executor_id)


def test_who_had_a_lock_here_is_known_and_its_namesake_elsewhere_is_not(tmp_path: Path) -> None:
    liveness = FileLiveness(tmp_path)
    assert not liveness.known("generate-0.1.00000000")
    with WorkerLock(tmp_path, "generate-0", "generate") as before:
        assert liveness.known(before.executor_id)
    with WorkerLock(tmp_path, "generate-0", "generate") as after:
        assert liveness.known(after.executor_id)
    assert liveness.known(before.executor_id)
    assert not liveness.known("generate-0.1.00000000")
    assert not liveness.known("../etc/passwd.1.00000000")
    for _ in range(40):
        with WorkerLock(tmp_path, "generate-0", "generate") as last:
            assert liveness.alive(last.executor_id)
    assert liveness.known(last.executor_id)
    assert not liveness.known(before.executor_id)


@pytest.mark.parametrize("worker_id", ["", "../x", "a b", "-x", "x" * 65, "a.b"])
def test_a_worker_id_is_a_plain_name(tmp_path: Path, worker_id: str) -> None:
    with pytest.raises(ValueError, match="worker id"):
        WorkerLock(tmp_path, worker_id, "all")
