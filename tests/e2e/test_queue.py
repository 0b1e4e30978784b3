"""What the gateway says of the queue while nothing in it ends, and what it does to a worker that stands still."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from postgres_process import PostgresProcess, installed
from studio_processes import Process, StudioProcesses, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

JOB = {"model": "OPENSORA", "prompt": "a red heart moves up"}


def _metrics(studio: StudioProcesses) -> dict[str, float]:
    lines = httpx.get(f"{studio.url}/metrics", timeout=30).text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {series: float(value) for series, value in pairs}


def _submit(studio: StudioProcesses, **fields: Any) -> str:
    reply = studio.call("POST", "/v1/videos", json=JOB | fields)
    assert reply.status_code == httpx.codes.OK, reply.text
    return str(reply.json()["id"])


def _video(studio: StudioProcesses, video_id: str) -> dict[str, Any]:
    video: dict[str, Any] = studio.call("GET", f"/v1/videos/{video_id}").json()
    return video


def test_depth_wait_and_age_are_the_queues_own_at_each_scrape(tmp_path: Path) -> None:
    depth = 'queue_depth_total{model="OPENSORA",status="waiting",tier="free"}'
    wait, age = (f'rushes_{what}_seconds{{tier="free"}}' for what in ("queue_oldest_wait", "job_oldest_age"))
    offline = 'gpu_worker_status{status="offline",worker_id="worker-0"}'
    with StudioProcesses(tmp_path, roles=("encode",)) as studio:  # nobody renders
        empty = _metrics(studio)
        assert (empty[depth], empty[wait], empty[age], empty[offline]) == (0, 0, 0, 0)
        made = [_submit(studio, tier="free") for _ in range(2)]
        first, second = _metrics(studio), _metrics(studio)
        assert first[depth] == second[depth] == 2
        assert 0 < first[wait] < second[wait]
        assert 0 < first[age] < second[age]
        studio.call("DELETE", f"/v1/videos/{made[0]}")
        assert _metrics(studio)[depth] == 1
        studio.call("DELETE", f"/v1/videos/{made[1]}")
        after = _metrics(studio)
        assert (after[depth], after[wait], after[age]) == (0, 0, 0)
        studio.workers[0].send(signal.SIGKILL)
        studio.workers[0].wait()
        assert _metrics(studio)[offline] == 1


def test_a_worker_that_stands_still_is_ended_and_its_video_made_by_the_next(tmp_path: Path) -> None:
    settings = {
        "RUSHES_HUNG_AFTER_S": "15",
        "RUSHES_WORKER_LEASE_S": "120",  # so that it is not for its silence
        "RUSHES_CHECKPOINT_EVERY": "5",
    }
    with StudioProcesses(tmp_path, roles=("all",), settings=settings) as studio:
        worker = studio.workers[0]
        video_id = _submit(studio, steps=50)
        eventually(lambda: _video(studio, video_id)["step"] >= 6, seconds=120, what="the sixth step")
        assert worker.popen is not None
        stopped = worker.popen
        _stop_between_writes(studio, worker)
        assert stopped.wait(60) == -signal.SIGKILL
        worker.stopped = False
        studio.restart_ended()
        video = eventually(
            lambda: found if (found := _video(studio, video_id))["status"] == "completed" else None,
            seconds=120,
            what="the video",
        )
        assert video["error"] is None
        said = [line for line in studio.log_lines() if line.get("event") == "generation.job.resumed"]
        assert [line["request_id"] for line in said] == [video_id]
        assert any(line.get("event") == "worker.lost" for line in studio.log_lines())
        with closing(sqlite3.connect(studio.data_dir / "studio.db")) as conn:
            query = "SELECT cause FROM job_compute WHERE job_id = ? AND role = 'generate' ORDER BY number"
            causes = [cause for (cause,) in conn.execute(query, (video_id,))]
        assert causes == ["hung", None]


def _stop_between_writes(studio: StudioProcesses, worker: Process) -> None:
    """One that stood still in the midst of a write would keep SQLite's only lock, from the reaper as well."""

    def stopped() -> bool:
        worker.send(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(studio.data_dir / "studio.db", timeout=5)) as conn:
                conn.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            worker.send(signal.SIGCONT)
            return False
        return True

    eventually(stopped, seconds=60, what="a stop between two writes")


@pytest.mark.skipif(installed() is None, reason="PostgreSQL is not installed (Debian's package postgresql)")
def test_a_lost_workers_video_goes_on_on_another_machine(tmp_path: Path) -> None:
    """Two data folders share no lock file, as two machines don't: the lost worker's silence has to tell."""
    settings = {
        "RUSHES_STORAGE": str(tmp_path / "videos"),
        "RUSHES_SCRATCH": str(tmp_path / "shared"),
        "RUSHES_WORKER_LEASE_S": "5",
        "RUSHES_CHECKPOINT_EVERY": "5",
    }
    with TemporaryDirectory() as folder:
        database = PostgresProcess(Path(folder) / "server")
        with StudioProcesses(
            tmp_path / "here", roles=("all",), database=database, settings=settings
        ) as studio:
            undisturbed = _submit(studio, steps=50, seed=7)
            eventually(lambda: _video(studio, undisturbed)["status"] == "completed", seconds=120, what="it")
            there = {**studio.env, "RUSHES_DATA_DIR": str(tmp_path / "there")}
            far = Process("far-0", ["worker", "--role", "all", "--id", "far-0"], there, tmp_path)
            studio.workers[0].send(signal.SIGTERM)
            studio.workers[0].wait()
            far.start()
            try:
                video_id = _submit(studio, steps=50, seed=7)
                eventually(lambda: _video(studio, video_id)["step"] >= 12, seconds=120, what="the 12th step")
            finally:
                far.send(signal.SIGKILL)
                far.wait()
            studio.workers[0].start()
            eventually(
                lambda: _video(studio, video_id)["status"] == "completed", seconds=120, what="the video"
            )
            assert _content(studio, video_id) == _content(studio, undisturbed)
            said = [line for line in studio.log_lines() if line.get("event") == "generation.job.resumed"]
            assert [line["request_id"] for line in said] == [video_id]
            eventually(lambda: not list((tmp_path / "shared").iterdir()), seconds=60, what="an empty folder")


def _content(studio: StudioProcesses, video_id: str) -> bytes:
    return studio.call("GET", f"/v1/videos/{video_id}/content").content
