"""A gateway for tests: the real app on real jobs, two models' cards, and videos in a folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from starlette.applications import Starlette
from starlette.testclient import TestClient

from rushes.studio.jobs import Job, JobState, JobStore
from rushes.studio.keys import ApiKey, KeyStore
from rushes.studio.models.card import ModelCard
from rushes.studio.storage import Media
from studio.claiming import claim_encoding, claim_generation

PRICES = {"MOCHI1": 2, "LTX2": 3}


CARDS = {
    name: ModelCard(
        name=name,
        pipeline="None",
        text_encoder_role="t5xxl",
        has_audio=False,
        fps=24,
        default_seconds=1.0,
        min_seconds=1.0,
        max_seconds=10.0,
        default_width=64,
        default_height=48,
        min_size=16,
        max_width=256,
        max_height=256,
        size_multiple=16,
        default_steps=8,
        max_steps=50,
        default_guidance=4.5,
        prompt_limit=200,
        frame_group=6,
        takes_picture=name == "LTX2",
    )
    for name in PRICES
}


class Seconds:
    """A clock for the rate limit that moves only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Gateway:
    app: Starlette
    store: JobStore
    keys: KeyStore
    media: Media
    key: ApiKey
    secret: str
    folder: Path
    limiter_clock: Seconds
    cancelled: list[Job] = field(default_factory=list)

    def client(self, secret: str | None = None, **headers: str) -> TestClient:
        token = self.secret if secret is None else secret
        return TestClient(
            self.app,
            headers={"authorization": f"Bearer {token}", **headers},
            raise_server_exceptions=False,
            client=("203.0.113.77", 50000),
        )

    def job(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        assert job is not None
        return job

    def balance(self) -> int:
        key = self.keys.get(self.key.id)
        assert key is not None
        return key.credits

    def start(self, job_id: str) -> None:
        """What workers do until the first denoising step."""
        assert claim_encoding(self.store, job_id, worker_id="e", executor_id="e.1.00000000")
        assert self.store.enqueue_generation(self.job(job_id))
        assert claim_generation(self.store, job_id, worker_id="g", executor_id="g.1.00000000")
        assert self.store.start_generating(self.job(job_id))

    def finish(self, job_id: str, content: bytes) -> None:
        """Stores a video and completes the job with it."""
        file = self.folder / f"{job_id}.mp4"
        file.write_bytes(content)
        stored = self.media.put(file)
        assert self.store.complete(self.job(job_id), media=stored.name, size_bytes=stored.size_bytes)


class Renderer:
    """A thread that makes a video of every queued job, as workers would, through the store."""

    def __init__(self, gateway: Gateway, content: Callable[[Job], bytes]) -> None:
        self._gateway = gateway
        self._content = content
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        gateway = self._gateway
        while not self._stop.wait(0.01):
            for job in gateway.store.page(gateway.key.id, limit=100).jobs:
                if job.state is not JobState.QUEUED:
                    continue
                if job.seed == 13:
                    gateway.store.fail(job.id, code="out_of_memory", message="too large", reason="oom")
                    continue
                gateway.start(job.id)
                for step in range(1, job.steps + 1):
                    gateway.store.set_progress(job, step)
                    time.sleep(0.002)
                gateway.finish(job.id, self._content(job))
