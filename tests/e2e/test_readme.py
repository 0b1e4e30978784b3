"""The README's commands and snippets, run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from platform_process import eventually
from rushes.launch import local

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
COMMANDS = [line.split("#")[0].strip() for line in SHELL.splitlines() if line.strip()]


def test_the_readme_opens_with_the_two_commands() -> None:
    assert COMMANDS[:2] == ["make up", "make test"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_every_target_exists(command: str) -> None:
    planned = subprocess.run(
        [*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert planned.returncode == 0, planned.stderr
    if command == "make test":
        assert "-m pytest" in planned.stdout


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


@pytest.mark.skipif(not (ROOT / ".venv" / "bin" / "rushes").exists(), reason="`make setup` has not run")
def test_make_up_then_generate_and_the_client(tmp_path: Path) -> None:
    env = {
        **os.environ,
        **{f"RUSHES_{name}": "0" for name in ("PORT", "GATEWAY_PORT", "OTLP_HTTP_PORT", "OTLP_GRPC_PORT")},
        "RUSHES_DATA_DIR": str(tmp_path / "share" / "rushes"),
        "RUSHES_CONFIG_DIR": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "share"),
    }
    path = tmp_path / "share" / "rushes" / "local.json"
    up = subprocess.Popen(shlex.split(COMMANDS[0]), cwd=ROOT, env=env, start_new_session=True)
    try:

        def look() -> local.Local | None:
            assert up.poll() is None
            try:
                return local.read(path)
            except local.NotRunning:
                return None

        running = eventually(look, seconds=120, what="local.json")
        (generate,) = (c for c in COMMANDS if "rushes generate" in c)
        words = shlex.split(generate)
        done = subprocess.run(
            [str(ROOT / words[0]), *words[1:]],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        video, trace = done.stdout.split()
        assert (tmp_path / video).stat().st_size > 1000
        assert trace.startswith(running.ui)
        (snippet,) = (c for c in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "openai" in c)
        subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, env=env, check=True)
        assert (tmp_path / "rain.mp4").stat().st_size > 1000
    finally:
        os.killpg(up.pid, signal.SIGTERM)
        up.wait(60)
    eventually(lambda: not path.exists(), what="the end of make up")
