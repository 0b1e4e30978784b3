"""DELETE through the gateway, and every byte of the data folder afterwards."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from platform_process import Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_a_deleted_video_leaves_no_byte_of_prompt_or_video(platform: Platform) -> None:
    video_id, _ = platform.submit("a canary of obsidian " * 20, seed=4711)
    video = platform.content(video_id)
    with closing(sqlite3.connect(platform.data_dir / "studio.db")) as conn:
        query = "SELECT encrypted FROM job_prompts WHERE job_id = ?"
        (ciphertext,) = conn.execute(query, (video_id,)).fetchone()
    pieces = {"prompt": bytes(ciphertext)[64:128], "video": video[len(video) // 2 :][:64]}
    assert _files_with(platform.data_dir, pieces["prompt"])
    assert _files_with(platform.data_dir, pieces["video"])
    reply = httpx.delete(f"{platform.gateway}/v1/videos/{video_id}", headers=platform.auth)
    assert reply.json()["deleted"] is True
    # At once if nobody read the database just then.
    eventually(
        lambda: not _files_with(platform.data_dir, pieces["prompt"]), seconds=90, what="the prompt's end"
    )
    assert _files_with(platform.data_dir, pieces["video"]) == []
    assert not (platform.data_dir / "scratch" / video_id).exists()
    gone = httpx.get(f"{platform.gateway}/v1/videos/{video_id}", headers=platform.auth)
    assert gone.status_code == 404


def _files_with(folder: Path, piece: bytes) -> list[str]:
    found = []
    for parent, _, names in os.walk(folder):  # which leaves out folders that are removed this moment
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and piece in path.read_bytes():
                    found.append(name)
    return found
