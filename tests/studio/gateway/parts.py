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

from rushes.studio.jobs import Job, JobState, JobStore, Submitter
from rushes.studio.keys import ApiKey, KeyStore
from rushes.studio.storage import Media

PRICES = {"MOCHI1": 2, "LTX2": 3}


@dataclass(frozen=True)
class Card:
    """Limits as a real model has them; frames in groups of six, and one more."""

    name: str
    fps: int = 24
    prompt_limit: int = 200
    default_seconds: float = 1.0
    default_width: int = 64
    default_height: int = 48
    default_steps: int = 8
    default_guidance: float = 4.5

    def frames_for(self, seconds: float) -> int:
        return round(seconds * self.fps / 6) * 6 + 1

    def validate(self, width: int, height: int, seconds: float, steps: int) -> None:
        if width % 16 or height % 16 or not (16 <= width <= 256 and 16 <= height <= 256):
            msg = f"{self.name} makes sizes in multiples of 16 up to 256, not {width}x{height}"
            raise ValueError(msg)
        if not 1 <= seconds <= 10:
            msg = f"{self.name} makes videos of 1 to 10 s, not {seconds:g} s"
            raise ValueError(msg)
        if not 1 <= steps <= 50:
            msg = f"{self.name} takes 1 to 50 steps, not {steps}"
            raise ValueError(msg)


CARDS = {name: Card(name) for name in PRICES}


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
    submitter: Submitter
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
        assert self.store.claim_encoding(job_id, worker_id="e", executor_id="e.1.00000000")
        assert self.store.enqueue_generation(job_id, self.submitter.enqueue_generate)
        assert self.store.claim_generation(job_id, worker_id="g", executor_id="g.1.00000000")
        assert self.store.start_generating(job_id)

    def finish(self, job_id: str, content: bytes) -> None:
        """Stores a video and completes the job with it."""
        file = self.folder / f"{job_id}.mp4"
        file.write_bytes(content)
        stored = self.media.put(file)
        assert self.store.complete(job_id, media=stored.name, size_bytes=stored.size_bytes)


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
                    gateway.store.set_progress(job.id, step)
                    time.sleep(0.002)
                gateway.finish(job.id, self._content(job))
