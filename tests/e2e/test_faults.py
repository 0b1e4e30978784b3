"""What goes wrong says so, in the job, the log and the trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from platform_process import Platform, board_of, eventually, start, stop

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


def test_a_killed_workers_video_goes_on_from_its_last_checkpoint(platform: Platform) -> None:
    undisturbed, _ = platform.submit(**LONG, seed=11)
    expected = platform.content(undisturbed)
    video_id, trace_id = platform.submit(**LONG, seed=11)
    eventually(lambda: platform.video(video_id)["progress"] > 30, what="the first checkpoint")
    (worker,) = (w for w in board_of(platform).workers() if w.worker_id == "generate-0")
    os.kill(worker.pid, signal.SIGKILL)
    assert platform.ended(video_id)["status"] == "completed"
    assert platform.content(video_id) == expected
    spans = platform.spans(trace_id)
    (root,) = (s for s in spans if s["name"] == "video_generation_request")
    assert root["status"].get("code", 0) == 0
    names = [s["name"] for s in spans]
    assert names.count("queue_wait") == 2
    assert names.count("rushes.interrupted") == 1
    assert {"checkpoint.save", "step_50"} <= set(names)
    (loop,) = (s for s in spans if s["name"] == "dit_inference")  # the other one went with its worker
    resumed = {a["key"]: a["value"] for a in loop["attributes"]}["rushes.resumed_after"]
    assert int(resumed["intValue"]) >= 10

    def told() -> bool:
        logs = httpx.get(f"{platform.local.ui}/api/logs", params={"trace_id": trace_id})
        events = {json.loads(line)["event"] for line in logs.text.splitlines()}
        return {"generation.job.interrupted", "generation.job.resumed"} <= events

    eventually(told, what="the recovery's log lines")


def _error_lines(platform: Platform, trace_id: str) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        logs = httpx.get(f"{platform.local.ui}/api/logs", params={"trace_id": trace_id, "level": "ERROR"})
        return [json.loads(line) for line in logs.text.splitlines()] or None

    return eventually(look, what="the error's log line")


def _mount(folder: Path, size: str) -> None:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.decode().strip()}")


def test_a_full_disk_and_weights_that_are_not_there(tmp_path: Path) -> None:
    """Videos go to a disk of 16 KiB, LTX2's weights to nowhere, OPENSORA's go away after the start."""
    from rushes.studio.models.small import build

    disk, gone = tmp_path / "disk", tmp_path / "no-such-weights"
    _mount(disk, "16k")
    vanishing = build("OPENSORA", tmp_path / "weights")
    weights = json.dumps({"LTX2": str(gone), "OPENSORA": str(vanishing)})
    platform = start(tmp_path / "data", RUSHES_STORAGE=str(disk), RUSHES_WEIGHTS=weights)
    try:
        video_id, trace_id = platform.submit(model="MOCHI1")
        error = platform.ended(video_id)["error"]
        assert error["code"] == "storage_error"
        assert "No space left" in error["message"] or "full" in error["message"]
        spans = {s["name"]: s for s in platform.spans(trace_id)}
        assert spans["video_generation_request"]["status"]["code"] == 2
        assert spans["upload"]["status"]["code"] == 2
        assert _error_lines(platform, trace_id)[0]["context"]["reason"] == "storage"

        body = {"prompt": "x", "model": "LTX2"}
        refused = httpx.post(f"{platform.gateway}/v1/videos", json=body, headers=platform.auth)
        assert refused.status_code == 503
        assert str(gone) in refused.json()["error"]["message"]

        shutil.rmtree(vanishing)
        board = board_of(platform)
        (encoder,) = (w for w in board.workers() if w.worker_id == "encode-0")
        os.kill(encoder.pid, signal.SIGTERM)  # so that it is started again and has to load the weights
        eventually(
            lambda: any(
                w.worker_id == "encode-0" and w.pid != encoder.pid and w.state == "idle"
                for w in board.workers()
            ),
            what="another encode worker",
        )
        video_id, trace_id = platform.submit(model="OPENSORA")
        error = platform.ended(video_id)["error"]
        assert error["code"] == "model_unavailable"
        assert str(vanishing) in error["message"]
        assert _error_lines(platform, trace_id)[0]["context"]["reason"] == "checkpoint"
        root = next(s for s in platform.spans(trace_id) if s["name"] == "video_generation_request")
        assert str(vanishing) in root["status"]["message"]
    finally:
        left = stop(platform)
        subprocess.run(["umount", str(disk)], check=True)
    assert left == []


def test_a_full_queue(tmp_path: Path) -> None:
    """A gateway without workers whose queue holds one job."""
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


def test_the_server_by_itself_says_where_it_is(tmp_path: Path) -> None:
    from rushes.launch import local

    env = {
        **os.environ,
        "RUSHES_DATA_DIR": str(tmp_path / "data"),
        "RUSHES_CONFIG_DIR": str(tmp_path / "config"),
    }
    ports = ("--port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "rushes", "server", *ports], env=env, stderr=subprocess.PIPE, text=True
    )
    path = tmp_path / "data" / "local.json"
    try:
        eventually(path.exists, what="local.json")
        told = local.read(path)
        assert told.pid == process.pid
        assert httpx.get(f"{told.ui}/readyz").json()["ready"] is True
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert not path.exists()


def test_the_control_room_alone(tmp_path: Path) -> None:
    """Behind a token, as it has to be when other machines can reach it."""
    alone = start(tmp_path / "data", "--no-studio", RUSHES_TOKEN="s3cret")
    try:
        assert alone.local.gateway is None
        shown = {"Authorization": "Bearer s3cret"}
        for url in (f"{alone.local.ui}/", f"{alone.local.ui}/api/traces", f"{alone.local.ui}/metrics"):
            assert httpx.get(url).status_code == 401
            assert httpx.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
            assert httpx.get(url, headers=shown).status_code == 200
            assert httpx.get(url, auth=("anybody", "s3cret")).status_code == 200
        assert httpx.post(f"{alone.local.otlp_http}/v1/traces").status_code == 401
        logged = eventually(
            lambda: httpx.get(f"{alone.local.ui}/api/logs", headers=shown).text,
            what="the supervisor's own log lines",
        )
        assert "process.started" in logged
        assert httpx.get(f"{alone.local.ui}/readyz").json()["ready"] is True
        assert httpx.get(f"{alone.local.ui}/healthz").status_code == 200
        done = alone.rushes("generate", "a red ball")
        assert done.returncode == 1
        assert "without a studio" in done.stderr
    finally:
        assert stop(alone) == []
    assert not (tmp_path / "data" / "local.json").exists()
