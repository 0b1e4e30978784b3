"""The control room and Prometheus as processes of their own: what their work costs, and where they answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from prometheus_peer import started

__all__ = ["Server", "prometheus", "rushes_server"]

_IDLE: Final = 0.03  # share of a processor that counts as idle


@dataclass
class Server:
    """A running one."""

    process: psutil.Process
    urls: dict[str, str]

    def cpu_s(self) -> float:
        """Processor seconds so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss) / 1e6

    def idle(self) -> None:
        """Wait until what was left for later (merges, compaction) is done."""
        for _ in range(60):
            before = self.cpu_s()
            time.sleep(1)
            if self.cpu_s() - before < _IDLE:
                return

    def costs(self, work: Callable[[], None]) -> tuple[float, float]:
        """Seconds of processor and of the clock that the work takes."""
        self.idle()
        cpu, began = self.cpu_s(), time.monotonic()
        work()
        wall = time.monotonic() - began
        self.idle()
        return self.cpu_s() - cpu, wall


@contextlib.contextmanager
def rushes_server(data_dir: Path | None = None) -> Iterator[Server]:
    """`rushes server` on free ports, in a fresh folder unless one is given."""
    with tempfile.TemporaryDirectory() as folder:
        data = data_dir or Path(folder) / "data"
        env = {**os.environ, "RUSHES_DATA_DIR": str(data), "RUSHES_CONFIG_DIR": f"{folder}/config"}
        ports = ("--port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0")
        local = data / "local.json"
        local.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "rushes", "server", *ports], env=env, stdout=subprocess.DEVNULL
        )
        try:
            while not local.exists():
                if process.poll() is not None:
                    raise RuntimeError("rushes server ended early")
                time.sleep(0.05)
            told: dict[str, Any] = json.loads(local.read_text())
            yield Server(psutil.Process(process.pid), {"ui": told["ui"], "otlp": told["otlp_http"]})
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextlib.contextmanager
def prometheus() -> Iterator[Server]:
    """Debian's Prometheus in a fresh folder, with its receiver for remote write."""
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as peer:
        yield Server(psutil.Process(peer.pid), {"ui": peer.url})
