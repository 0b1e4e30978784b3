"""VEO3 through the running platform: its worker is killed while it waits, and the video is paid for once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from instrument.veo.api import KEY, Api, running, serve
from platform_process import Platform, eventually, start, stop
from rushes.launch import local
from studio.google_videos import mp4, sends

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PROMPT = "a canary-yellow heron of quartz"


@pytest.fixture(scope="module")
def google() -> Iterator[Api]:
    with serve(vertex=True) as api:
        yield api


@pytest.fixture(scope="module")
def platform(google: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("veo")
    # A key in the file has to reach the workers as well.
    (folder / "rushes.toml").write_text(
        f"[veo]\napi_key = '{KEY}'\nvertex = true\nurl = '{google.url}'\npoll_s = 0.1\n"
    )
    running = start(folder / "data")
    yield running
    assert stop(running) == [], "processes are left over"


def _worker(platform: Platform) -> psutil.Process:
    """The generate worker's process."""

    def look() -> psutil.Process | None:
        for child in psutil.Process(platform.process.pid).children():
            if "generate-0" in child.cmdline():
                return child
        return None

    return eventually(look, what="a generate worker")


def test_a_killed_worker_costs_no_second_video(platform: Platform, google: Api) -> None:
    google.poll = [running()]
    video_id, trace_id = platform.submit(PROMPT, model="VEO3", seconds="4")
    eventually(lambda: google.count("poll") > 1, what="the question whether the video is ready")
    platform.spans(trace_id, until="rushes.veo.submit")  # what a killed worker has not sent yet is lost
    _worker(platform).send_signal(signal.SIGKILL)
    video = mp4()
    sends(google, video)
    ended = platform.ended(video_id)
    assert (ended["status"], ended["seconds"], ended["steps"], ended["error"]) == ("completed", "4", 0, None)
    assert google.count("submit") == 1
    reply = httpx.get(f"{platform.gateway}/v1/videos/{video_id}/content", headers=platform.auth)
    assert reply.content == video

    spans = platform.spans(trace_id)
    names = [span["name"] for span in spans]
    assert names.count("rushes.veo.submit") == 1
    assert (
        names.count("rushes.provider") == 1
    )  # the lost worker's went with it; who noticed has told of that time
    assert names.count("rushes.interrupted") == 1
    assert names.count("rushes.veo.download") == 1
    assert "dit_inference" not in names


def test_the_key_is_in_no_file_and_no_reply(platform: Platform, google: Api) -> None:
    google.poll, google.submit = [], []
    sends(google, mp4())
    video_id, trace_id = platform.submit(PROMPT, model="VEO3")
    assert platform.ended(video_id)["status"] == "completed"
    platform.spans(trace_id)
    searched = 0
    for path in Path(platform.data_dir).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            searched += len(content)
            assert KEY.encode() not in content, path
    assert searched > 10_000

    def exposed() -> str | None:
        """All processes' metrics, the new worker's too, once local.json knows it."""
        try:
            return "".join(
                httpx.get(url).text for url in local.read(platform.data_dir / "local.json").metrics
            )
        except httpx.ConnectError:
            return None

    assert KEY not in eventually(exposed, what="every /metrics")
    assert KEY not in httpx.get(f"{platform.local.ui}/api/logs", params={"limit": "5000"}).text
