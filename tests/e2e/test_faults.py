"""What goes wrong says so, in the job, the log and the trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from platform_process import Platform, eventually, start, stop
from rushes.studio.board import Board

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LONG: dict[str, Any] = {"model": "MOCHI1", "seconds": "5", "size": "128x128", "steps": 50}


@pytest.mark.parametrize(
    ("headers", "body", "status", "told"),
    [
        ({"Authorization": "Bearer rk_wrong"}, {"prompt": "x", "model": "MOCHI1"}, 401, "key"),
        ({}, {"prompt": "x", "model": "MOCHI1"}, 401, "key"),
        (None, {"prompt": "x", "model": "SORA9"}, 400, "MOCHI1"),
        (None, {"prompt": "x" * 5000, "model": "MOCHI1"}, 400, "5000"),
        (None, {"model": "MOCHI1"}, 400, "prompt"),
        (None, {"prompt": "x", "model": "MOCHI1", "size": "7x7"}, 400, "7"),
        (None, {"prompt": "x", "model": "MOCHI1", "seconds": "99"}, 400, "99"),
        (None, b'{"prompt": ', 400, "JSON"),
    ],
)
def test_bad_input_gets_a_clear_error(
    platform: Platform, headers: dict[str, str] | None, body: dict[str, Any] | bytes, status: int, told: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    shown = {"content-type": "application/json", **(platform.auth if headers is None else headers)}
    reply = httpx.post(f"{platform.gateway}/v1/videos", headers=shown, content=content)
    assert reply.status_code == status
    assert told in reply.json()["error"]["message"]


def test_a_killed_worker_fails_its_job_clearly_and_the_next_one_works(platform: Platform) -> None:
    video_id, trace_id = platform.submit(**LONG)
    eventually(lambda: platform.video(video_id)["progress"], what="the first step")
    (worker,) = (w for w in Board(platform.data_dir / "workers").workers() if w.worker_id == "generate-0")
    os.kill(worker.pid, signal.SIGKILL)
    video = platform.ended(video_id)
    assert video["status"] == "failed"
    assert f"worker generate-0 (pid {worker.pid}) died while generating" in video["error"]["message"]
    spans = platform.spans(trace_id)
    (root,) = (s for s in spans if s["name"] == "video_generation_request")
    assert root["status"]["code"] == 2
    assert "died while generating" in root["status"]["message"]

    def look() -> list[str] | None:
        logs = httpx.get(f"{platform.local.ui}/api/logs", params={"trace_id": trace_id, "level": "ERROR"})
        return [json.loads(line)["event"] for line in logs.text.splitlines()] or None

    assert "generation.job.failed" in eventually(look, what="the error's log line")
    assert platform.ended(platform.submit()[0])["status"] == "completed"


def test_a_missing_folder_of_weights_and_a_full_queue(tmp_path: Path) -> None:
    """A gateway without workers whose queue holds one job, and a folder that is not there."""
    from rushes.studio.models import available

    with pytest.raises(Exception, match="no-such-weights"):
        available({"MOCHI1": tmp_path / "no-such-weights"})
    env = {
        **os.environ,
        "RUSHES_DATA_DIR": str(tmp_path / "data"),
        "RUSHES_CONFIG_DIR": str(tmp_path / "config"),
        "RUSHES_GATEWAY_PORT": "0",
        "RUSHES_MAX_QUEUE_DEPTH": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "rushes", "gateway"], env=env, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        started = next(line for line in process.stderr if "process.started" in line)
        address = json.loads(started)["context"]["address"]
        key = (tmp_path / "config" / "development.key").read_text()
        body = {"prompt": "x", "model": "MOCHI1"}
        headers = {"Authorization": f"Bearer {key}"}

        def post() -> httpx.Response | None:
            try:
                return httpx.post(f"http://{address}/v1/videos", json=body, headers=headers)
            except httpx.ConnectError:
                return None

        assert eventually(post, what="the gateway").status_code == 200
        refused = post()
        assert refused is not None
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["code"] == "queue_full"
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_second_up_on_the_same_folder_is_refused(platform: Platform) -> None:
    done = platform.rushes(
        "up", "--port", "0", "--gateway-port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0"
    )
    assert done.returncode == 1
    assert "another `rushes up` runs on" in done.stderr


def test_the_control_room_alone(tmp_path: Path) -> None:
    alone = start(tmp_path / "data", "--no-studio")
    try:
        assert alone.local.gateway is None
        assert httpx.get(f"{alone.local.ui}/readyz").json()["ready"] is True
        assert httpx.get(f"{alone.local.ui}/healthz").status_code == 200
        done = alone.rushes("generate", "a red ball")
        assert done.returncode == 1
        assert "without a studio" in done.stderr
    finally:
        assert stop(alone) == []
    assert not (tmp_path / "data" / "local.json").exists()
