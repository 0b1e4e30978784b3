"""The documented curl commands, run as they stand in the page against a gateway with a renderer behind it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from studio.gateway.parts import Gateway, Renderer

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "videos-api.md"
CONTENT = b"video" * 1000


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_does_what_the_page_says(gateway: Gateway, address: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    script = "\necho; echo ----\n".join(["set -euo pipefail", *blocks])
    Image.new("RGB", (320, 200), (20, 90, 160)).save(tmp_path / "first.png")
    environment = os.environ | {
        "RUSHES_GATEWAY": address.removesuffix("/v1"),
        "RUSHES_API_KEY": gateway.secret,
    }
    with Renderer(gateway, lambda _: CONTENT):
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr + done.stdout
    _, _, asked, refused, pictured, once, followed, fetched, limits = done.stdout.split("\n----\n")
    assert re.fullmatch(r"video_[0-9a-f]{32}", asked.strip())
    assert '"param":"size"' in refused
    assert gateway.store.picture(re.findall(r'"id":"(video_\w+)"', pictured)[0]) is not None
    ids = re.findall(r'"id":"(video_\w+)"', once)
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert once.count("idempotent-replayed: true") == 1
    assert followed.count("event: video") >= 1
    assert '"status": "completed"' in followed
    assert (tmp_path / "video.mp4").read_bytes() == CONTENT
    assert '"has_more":' in fetched
    assert '"deleted":true' in fetched
    assert "x-ratelimit-remaining-requests: " in limits
    assert gateway.store.get(asked.strip()) is None
