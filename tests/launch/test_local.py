"""local.json, ports and the processes under `rushes up`."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rushes.launch import local
from rushes.launch.ports import PortTaken, reserve


def _local() -> local.Local:
    return local.Local(
        ui="http://127.0.0.1:8400",
        gateway="http://127.0.0.1:8401",
        otlp_http="http://127.0.0.1:4318",
        otlp_grpc="http://127.0.0.1:4317",
        metrics=["http://127.0.0.1:8400/metrics"],
        pid=1,
        api_key="rk_canary",
    )


def test_local_json_is_its_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "local.json"
    local.write(path, _local())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()).keys() == {
        "ui", "gateway", "otlp_http", "otlp_grpc", "metrics", "pid", "api_key",
    }  # fmt: skip
    assert local.read(path) == _local()
    assert "canary" not in repr(local.read(path))
    local.remove(path)
    local.remove(path)
    with pytest.raises(local.NotRunning, match="rushes up"):
        local.read(path)


def test_a_broken_local_json_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "local.json"
    path.write_text('{"ui": ')
    with pytest.raises(local.NotRunning, match="start `rushes up` again"):
        local.read(path)


def test_a_port_that_is_taken_names_the_flag() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} .*--port"):
            reserve("127.0.0.1", port, "--port")
    assert reserve("127.0.0.1", 0, "--port") > 0


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """kill -9 of the supervisor leaves no process: its children see their standard input close."""
    child = (
        "import os, sys; from rushes.launch.lifetime import *; stop = stop_on_signals(); end_with_parent();"
        "open(sys.argv[1], 'w').write(str(os.getpid())); stop.wait()"
    )
    parent = (
        "import subprocess, sys, time, os; os.environ['RUSHES_SUPERVISED'] = '1';"
        f"subprocess.Popen([sys.executable, '-c', {child!r}, sys.argv[1]], stdin=subprocess.PIPE); time.sleep(600)"
    )
    pid_file = tmp_path / "pid"
    running = subprocess.Popen([sys.executable, "-c", parent, str(pid_file)])
    pid = int(_eventually(lambda: pid_file.exists() and pid_file.read_text()))
    running.kill()
    running.wait()
    _eventually(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Without an init that reaps, an ended orphan stays as a zombie.
    return "zombie" not in Path(f"/proc/{pid}/status").read_text()


def _eventually(look: object, seconds: float = 30) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()  # type: ignore[operator]
        if found:
            return str(found)
        time.sleep(0.02)
    raise AssertionError("it did not happen")
