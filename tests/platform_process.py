"""The whole platform in processes of its own, as `rushes up` starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from rushes.launch import local
from rushes.studio.board import Board
from rushes.studio.jobs import FileLiveness, Workers, open_database

__all__ = ["Platform", "board_of", "eventually", "start", "stop"]

T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, seconds: float = 60, what: str = "it") -> T:
    """Waits for a condition, never for a time; fails with the last thing seen."""
    deadline = time.monotonic() + seconds
    found: T | None = None
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen in {seconds} s; last seen: {found!r}")


@dataclass
class Platform:
    """A running `rushes up`."""

    local: local.Local
    data_dir: Path
    env: dict[str, str]
    process: subprocess.Popen[str]

    @property
    def gateway(self) -> str:
        assert self.local.gateway is not None
        return self.local.gateway

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.local.api_key}"}

    def rushes(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rushes", *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **options,
        )

    def submit(self, prompt: str = "a red ball", **fields: Any) -> tuple[str, str]:
        """A video's id and its trace's."""
        reply = httpx.post(
            f"{self.gateway}/v1/videos",
            headers=self.auth,
            json={"prompt": prompt, "model": "MOCHI1", **fields},
        )
        assert reply.status_code == 200, reply.text
        return reply.json()["id"], reply.headers["x-trace-id"]

    def content(self, video_id: str) -> bytes:
        """A video's bytes, once it is done."""
        assert self.ended(video_id)["status"] == "completed"
        reply = httpx.get(f"{self.gateway}/v1/videos/{video_id}/content", headers=self.auth)
        assert reply.status_code == 200, reply.text
        return reply.content

    def video(self, video_id: str) -> dict[str, Any]:
        reply = httpx.get(f"{self.gateway}/v1/videos/{video_id}", headers=self.auth)
        assert reply.status_code == 200, reply.text
        body: dict[str, Any] = reply.json()
        return body

    def ended(self, video_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            video = self.video(video_id)
            return video if video["status"] in {"completed", "failed"} else None

        return eventually(look, seconds=150, what=f"the end of {video_id}")

    def spans(self, trace_id: str, *, until: str = "video_generation_request") -> list[dict[str, Any]]:
        """The trace's spans from the control room, once the span `until` has come."""

        def look() -> list[dict[str, Any]] | None:
            reply = httpx.get(f"{self.local.ui}/api/traces/{trace_id}")
            if reply.status_code == 404:
                return None
            assert reply.status_code == 200, reply.text
            spans = [
                {**span, "service": resource["resource"]}
                for resource in reply.json()["resourceSpans"]
                for scope in resource["scopeSpans"]
                for span in scope["spans"]
            ]
            return spans if any(s["name"] == until for s in spans) else None

        return eventually(look, what=f"span {until} of trace {trace_id}")


def start(data_dir: Path, *flags: str, **variables: str) -> Platform:
    """Starts `rushes up` on free ports and waits until it says where it is."""
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("RUSHES_", "OTEL_"))},
        "RUSHES_DATA_DIR": str(data_dir),
        "RUSHES_CONFIG_DIR": str(data_dir.parent / "config"),
        "RUSHES_STRICT": "1",
        **variables,
    }
    ports = ("--port", "0", "--gateway-port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "rushes", "up", *ports, *flags],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=data_dir.parent,
    )
    path = data_dir / "local.json"

    def look() -> local.Local | None:
        assert process.poll() is None, process.communicate()[0]
        try:
            return local.read(path)
        except local.NotRunning:
            return None

    return Platform(eventually(look, seconds=90, what="local.json"), data_dir, env, process)


def stop(platform: Platform) -> list[psutil.Process]:
    """SIGTERM, and what is left of its processes afterwards."""
    processes = psutil.Process(platform.process.pid).children(recursive=True)
    platform.process.send_signal(signal.SIGTERM)
    output, _ = platform.process.communicate(timeout=90)
    assert platform.process.returncode == 0, output
    return psutil.wait_procs(processes, timeout=10)[1]


def board_of(platform: Platform) -> Board:
    """What the platform's workers say of themselves."""
    workers = Workers(open_database(f"sqlite:///{platform.data_dir}/studio.db"))
    return Board(workers, FileLiveness(platform.data_dir / "workers"), lease_s=15)
