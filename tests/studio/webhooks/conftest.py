"""A jobs' database with a key that has an endpoint, clocks that stand still, and a real server that listens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.fernet import Fernet

from rushes.studio.jobs import Job, JobPrompt, JobStore, new_job_id, open_database
from rushes.studio.keys import ApiKey, KeyStore
from rushes.studio.webhooks import Deliverer, Endpoint, Endpoints, Outbox, Sender
from studio.claiming import claim_encoding, claim_generation

START_NS = 1_767_960_000_000_000_000


class Clock:
    """Unix nanoseconds that move only when told to."""

    def __init__(self) -> None:
        self.now = START_NS

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A customer's server: answers with `status`, and remembers what came."""

    url: str = ""
    status: int = 200
    answer: bytes = b"thanks"
    location: str | None = None
    got: list[Received] = field(default_factory=list)
    before_answering: Callable[[], None] = lambda: None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.got.append(Received(self.path, headers, body))
            told.before_answering()
            self.send_response(told.status)
            if told.location is not None:
                self.send_header("location", told.location)
            with suppress(OSError):  # the sender may be gone by now
                self.end_headers()
                self.wfile.write(told.answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/hook?token=okapicanary"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Studio:
    """Jobs, keys and webhooks on one database."""

    store: JobStore
    keys: KeyStore
    endpoints: Endpoints
    outbox: Outbox
    key: ApiKey
    clock: Clock
    prompt_key: bytes

    def deliverer(self, *, private: bool = True, timeout_s: float = 10.0) -> Deliverer:
        sender = Sender(private=private, timeout_s=timeout_s)
        return Deliverer(self.outbox, self.endpoints, sender)

    def endpoint(self, url: str) -> Endpoint:
        return self.endpoints.set(self.key.id, url)

    def submit(self, key: ApiKey | None = None) -> Job:
        owner = key or self.key
        job = Job(
            id=new_job_id(), key_id=owner.id, tier="standard", model="MOCHI1", seconds=1, width=64, height=48,
            num_frames=25, fps=24, steps=4, seed=1, guidance_scale=4.5, trace_id="ab" * 16,
            root_span_id="cd" * 8, accepted_ns=self.clock(), credits_reserved=1,
        )  # fmt: skip
        prompt = JobPrompt("a red ball", "")
        self.store.create(job, key=owner, prompt=prompt)
        return job

    def cancelled(self, key: ApiKey | None = None) -> Job:
        job = self.store.cancel(self.submit(key).id)
        assert job is not None
        return job

    def completed(self) -> Job:
        job = self.submit()
        assert claim_encoding(self.store, job.id, worker_id="e", executor_id="e.1.00000000")
        held = self.store.get(job.id)
        assert held is not None
        assert self.store.enqueue_generation(held)
        held = claim_generation(self.store, job.id, worker_id="g", executor_id="g.1.00000000")
        assert held is not None
        assert self.store.start_generating(held)
        done = self.store.complete(held, media="sha256/aa/x.mp4", size_bytes=1)
        assert done is not None
        return done

    def failed(self) -> Job:
        job = self.store.fail(self.submit().id, code="oom", message="too large", reason="oom")
        assert job is not None
        return job


@pytest.fixture
def studio(url: str) -> Iterator[Studio]:
    engine = open_database(url)
    clock = Clock()
    keys = KeyStore(engine, clock=clock)
    key, _ = keys.create("ci", credits=1000)
    prompt_key = Fernet.generate_key()
    yield Studio(
        JobStore(engine, prompt_key=prompt_key, clock=clock),
        keys,
        Endpoints(engine, prompt_key=prompt_key, clock=clock),
        Outbox(engine, clock=clock),
        key,
        clock,
        prompt_key,
    )
    engine.dispose()
