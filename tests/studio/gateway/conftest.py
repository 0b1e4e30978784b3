"""The gateway, on a database and a folder of its own for each test, and also on a real port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from cryptography.fernet import Fernet

from rushes.studio.gateway import create_app
from rushes.studio.jobs import POLICIES, Job, JobStore, Outlook, TierPolicy, open_database
from rushes.studio.keys import KeyStore, RateLimiter
from rushes.studio.storage import Media
from studio.gateway.parts import CARDS, PRICES, Gateway, Seconds


@pytest.fixture
def gateway(url: str, tmp_path: Path) -> Iterator[Gateway]:
    engine = open_database(url)
    keys = KeyStore(engine)
    key, secret = keys.create("ci", tier="premium", rate_limit_per_minute=600, credits=1000)
    store = JobStore(engine, prompt_key=Fernet.generate_key())
    media = Media(tmp_path / "videos")
    cancelled: list[Job] = []
    clock = Seconds()
    app = create_app(
        store=store,
        keys=keys,
        cards=CARDS,
        media=media,
        prices=PRICES,
        on_cancelled=cancelled.append,
        outlook=Outlook(engine, policies={**POLICIES, "free": TierPolicy(max_queued=3)}, max_queued=40),
        hash_key=b"k" * 32,
        limiter=RateLimiter(clock),
    )
    folder = tmp_path / "made"
    folder.mkdir()
    yield Gateway(app, store, keys, media, key, secret, folder, clock, cancelled)
    engine.dispose()


@pytest.fixture
def address(gateway: Gateway) -> Iterator[str]:
    """The base URL of the gateway, served by uvicorn on a free port of loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(gateway.app, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()
    listening.close()
