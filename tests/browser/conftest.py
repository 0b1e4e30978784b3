"""Chromium on a real server over recorded rows. Without chromium these tests are skipped and say so."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect, sync_playwright

from rushes.query.videos import VideoRow
from rushes.web.live import Live
from rushes.web.media import MediaStore
from web.conftest import make_app
from web.fakes import Room
from web.rows import fill_room

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


expect.set_options(timeout=20_000)  # a busy machine is no fault of the pages

WATERFALL = "rushes-waterfall .span"


@dataclass
class Site:
    """A control room that is being served."""

    url: str
    room: Room
    live: Live
    rows: dict[str, VideoRow]
    requested: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")  # playwright's event loop must not outlive these tests: others run their own
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def clip() -> bytes:
    """Two seconds of real video, so that the player has something to play and to seek in."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(24):
            picture = np.full((64, 96, 3), 10 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return file.getvalue()


@contextlib.contextmanager
def served(app: Any, live: Live) -> Iterator[str]:
    """Serves on a free port until the block ends; open streams must not keep the server from stopping."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        live.close()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop: a stream is still open"


@pytest.fixture
def site(tmp_path: Path, browser: Browser, clip: bytes) -> Iterator[Site]:
    room = Room(time.time_ns())
    rows = fill_room(room)
    live = Live(min_interval_s=0.0, heartbeat_s=1.0)
    for row in rows.values():
        if row.media:
            place = tmp_path / row.media
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(clip)
    with served(make_app(room, live, MediaStore(str(tmp_path))), live) as url:
        yield Site(url, room, live, rows)


def open_page(browser: Browser, site: Site, **options: Any) -> Page:
    """A page that records what it asks for and what goes wrong in it."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("request", lambda request: site.requested.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: site.faults.append(str(error)))
    page.on("console", lambda message: site.faults.append(message.text) if message.type == "error" else None)
    return page


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A page that must end without an error and without having asked any other host."""
    page = open_page(browser, site)
    yield page
    page.context.close()
    assert not site.faults
    assert site.requested <= {urlsplit(site.url).netloc}


def box_of(place: Locator) -> FloatRect:
    box = place.bounding_box()
    assert box, "not on the page"
    return box
