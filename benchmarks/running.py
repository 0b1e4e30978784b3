"""A `rushes up` of a benchmark's own: a fresh data folder, free ports, its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

__all__ = ["Running", "running"]


@dataclass
class Running:
    """The process, when it was started (monotonic seconds), and where it will answer."""

    process: subprocess.Popen[bytes]
    started: float
    ui: str
    data_dir: Path

    def local(self) -> dict[str, Any]:
        """local.json, once it is there."""
        path = self.data_dir / "local.json"
        while True:
            try:
                return dict(json.loads(path.read_text()))
            except FileNotFoundError:
                time.sleep(0.02)

    def page_after(self) -> float:
        """Seconds from the start of the process to its first page."""
        while True:
            try:
                if httpx.get(self.ui, timeout=1).status_code == httpx.codes.OK:
                    return time.monotonic() - self.started
            except httpx.HTTPError:
                time.sleep(0.01)

    def loaded_after(self) -> float:
        """Seconds to the line that says that the models are loaded."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(b"ready"):
                return time.monotonic() - self.started
        raise RuntimeError("rushes up ended early")

    def rss_mb(self) -> dict[str, float]:
        """Resident memory of each process by its command."""
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            command = child.cmdline()
            if "rushes" in command:
                name = " ".join(command[command.index("rushes") + 1 :])
                found[name] = child.memory_info().rss / 1e6
        return found


@contextmanager
def running() -> Iterator[Running]:
    """Starts `rushes up` in a temporary folder and stops it afterwards."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        data_dir = Path(folder) / "data"
        env = {**os.environ, "RUSHES_DATA_DIR": str(data_dir), "RUSHES_CONFIG_DIR": f"{folder}/config"}
        ports = ("--gateway-port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0")
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "rushes", "up", "--port", str(port), *ports],
            env=env,
            stdout=subprocess.PIPE,
        )
        try:
            yield Running(process, time.monotonic(), f"http://127.0.0.1:{port}", data_dir)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
