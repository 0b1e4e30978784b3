"""A disk that is full or read-only: reads go on, inserts are refused, the page can say why, nothing stored is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from server_kills import Outcome, batch, free_port, started, stored

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_MAX_BATCHES = 2000


def _mount(folder: Path, options: str) -> None:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.decode().strip()}")


@dataclass
class Room:
    ui: httpx.Client
    otlp: httpx.Client
    disk: Path
    process: subprocess.Popen[bytes]
    acknowledged: set[str] = field(default_factory=set)
    turn: int = 0

    def send(self, name: str = "logs") -> tuple[httpx.Response, list[str], bytes]:
        """A new batch; what was acknowledged is remembered."""
        self.turn += 1
        ids, body = batch(name, 1, self.turn)
        return self.post(name, ids, body), ids, body

    def post(self, name: str, ids: list[str], body: bytes) -> httpx.Response:
        reply = self.otlp.post(
            f"/v1/{name}", content=body, headers={"content-type": "application/x-protobuf"}
        )
        if reply.status_code == httpx.codes.OK:
            assert not reply.content
            self.acknowledged.update(ids)
        return reply

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def assert_kept(self) -> None:
        """What was acknowledged is there, once, and nothing else."""
        self.stop()
        found = stored(self.disk / "data")["logs"]
        assert set(found) == self.acknowledged
        assert len(found) == len(self.acknowledged)

    def problems(self) -> list[str]:
        found: list[str] = self.ui.get("/api/problems").raise_for_status().json()["problems"]
        ready = self.ui.get("/readyz")
        assert ready.status_code == httpx.codes.OK, "it answers"
        assert ready.json()["problems"] == len(found)
        return found

    def newest_logs(self) -> list[Any]:
        reply = self.ui.get("/api/logs", params={"limit": "5"})
        assert reply.status_code == httpx.codes.OK, reply.text
        return reply.text.splitlines()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    disk = tmp_path / "disk"
    _mount(disk, "size=24m")
    (disk / "ballast").write_bytes(os.urandom(14 << 20))
    port, otlp = free_port(), free_port()
    room = None
    try:
        process = started(disk / "data", port, otlp, Outcome())
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as ui,
            httpx.Client(base_url=f"http://127.0.0.1:{otlp}", timeout=60) as sender,
        ):
            room = Room(ui, sender, disk, process)
            yield room
    finally:
        if room is not None:
            room.stop()
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(room: Room) -> None:
    assert room.send()[0].status_code == httpx.codes.OK
    fill = room.disk / "fill"
    with fill.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(os.urandom(4096))
        except OSError:
            pass
    refused = [room.send() for _ in range(5)]
    for reply, _, _ in refused:
        assert reply.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert reply.headers["retry-after"]
    assert any("the disk is full" in problem for problem in room.problems())
    assert room.newest_logs(), "reads go on"
    fill.unlink()
    for _, ids, body in refused:
        assert room.post("logs", ids, body).status_code == httpx.codes.OK
    assert not any("can't be stored" in problem for problem in room.problems())
    room.assert_kept()


def test_a_disk_that_ingest_fills(room: Room) -> None:
    for _ in range(_MAX_BATCHES):
        reply, ids, body = room.send()
        if reply.status_code != httpx.codes.OK:
            break
    else:
        pytest.fail("the disk did not fill up")
    assert reply.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert any("the disk is full" in problem for problem in room.problems())
    assert room.newest_logs()
    (room.disk / "ballast").unlink()
    assert room.post("logs", ids, body).status_code == httpx.codes.OK
    assert room.send()[0].status_code == httpx.codes.OK
    room.assert_kept()


def test_a_read_only_disk_is_said_at_the_start(room: Room) -> None:
    room.send()
    room.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(room.disk)], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "rushes", "server", "--data-dir", str(room.disk / "data"), "--port", "0",
         "--otlp-http-port", "0", "--otlp-grpc-port", "0"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        f"the data folder {room.disk / 'data' / 'telemetry'} can't be used: Read-only file system"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(room.disk)], check=True)
