"""`rushes backup` of a control room that runs, and of one that doesn't; `rushes restore` into a new data folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from server_kills import Outcome, batch, free_port, started, stored

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_TOKEN = "s3cret-canary"


def _rushes(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rushes", *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_backup_and_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSHES_TOKEN", _TOKEN)
    data, port, otlp = tmp_path / "data", free_port(), free_port()
    process = started(data, port, otlp, Outcome())
    sent: dict[str, set[str]] = {"traces": set(), "logs": set(), "metrics": set()}
    try:
        headers = {"content-type": "application/x-protobuf", "authorization": f"Bearer {_TOKEN}"}
        for turn in range(3):
            for name, ids_sent in sent.items():
                ids, body = batch(name, 1, turn)
                reply = httpx.post(f"http://127.0.0.1:{otlp}/v1/{name}", content=body, headers=headers)
                assert reply.status_code == httpx.codes.OK, reply.text
                ids_sent.update(ids)

        ui = f"http://127.0.0.1:{port}/api/backup"
        assert httpx.get(ui).status_code == httpx.codes.UNAUTHORIZED
        assert httpx.get(f"{ui}/nothing/all", headers=headers).status_code == httpx.codes.NOT_FOUND

        first = _rushes("backup", "--data-dir", str(data), "--to", str(tmp_path / "first"))
        assert first.returncode == 0, first.stderr
        again = _rushes("backup", "--data-dir", str(data), "--to", str(tmp_path / "first"))
        assert again.returncode == 1
        assert "has a backup of" in again.stderr
        monkeypatch.setenv("RUSHES_TOKEN", "another")
        barred = _rushes("backup", "--data-dir", str(data), "--to", str(tmp_path / "barred"))
        assert barred.returncode == 1
        assert "401" in barred.stderr
        assert "canary" not in barred.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()

    second = _rushes("backup", "--data-dir", str(data), "--to", str(tmp_path / "second"))
    assert second.returncode == 0, second.stderr
    for backup in ("first", "second"):
        fresh = tmp_path / f"from-{backup}"
        done = _rushes("restore", "--data-dir", str(fresh), "--from", str(tmp_path / backup))
        assert done.returncode == 0, done.stderr
        found = stored(fresh)
        assert {name: sorted(ids) for name, ids in found.items()} == {
            name: sorted(ids) for name, ids in sent.items()
        }
    full = _rushes("restore", "--data-dir", str(data), "--from", str(tmp_path / "first"))
    assert full.returncode == 1
    assert f"{data / 'telemetry'} exists already" in full.stderr

    (piece, *_) = (tmp_path / "second" / "spans").iterdir()
    piece.write_bytes(os.urandom(piece.stat().st_size))
    harmed = _rushes("restore", "--data-dir", str(tmp_path / "harmed"), "--from", str(tmp_path / "second"))
    assert harmed.returncode == 1
    assert "checksum" in harmed.stderr
    assert "Traceback" not in harmed.stderr
    assert list((tmp_path / "harmed").iterdir()) == [], "nothing is left of what could not be restored"
