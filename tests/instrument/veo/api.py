"""Google's video API on this machine: answers in the shapes of the Developer API and of Vertex AI, as scripted."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["KEY", "MODEL", "VIDEO", "Answer", "Api", "error", "running", "serve"]

KEY = "AIzaCanaryKey0123456789"
MODEL = "veo-3.0-generate-001"


def _box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


VIDEO = _box(b"ftyp", b"isomiso2") + _box(b"moov", bytes(64)) + _box(b"mdat", bytes(range(256)) * 8)


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None  # promises all of the body, sends so much and hangs up


def error(status: int, text: str, message: str = "no", *, details: Any = (), **headers: str) -> Answer:
    body = {"error": {"code": status, "message": message, "status": text, "details": list(details)}}
    return Answer(status, body, {k.replace("_", "-"): v for k, v in headers.items()})


def running() -> Answer:
    """An operation that is not done: its name alone."""
    return Answer()


@dataclass
class Api:
    """What is answered to each kind of request, in turn, the last one for ever; and what was asked."""

    vertex: bool
    url: str = ""
    submit: list[Answer] = field(default_factory=list)
    poll: list[Answer] = field(default_factory=list)
    download: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    @property
    def operation(self) -> str:
        if self.vertex:
            return f"projects/p/locations/global/publishers/google/models/{MODEL}/operations/op1"
        return f"models/{MODEL}/operations/op1"

    def done(self, **response: Any) -> Answer:
        if not response:
            uri = "https://generativelanguage.googleapis.com/v1beta/files/vid1:download?alt=media"
            sample = {"video": {"uri": uri}}
            inline = {"bytesBase64Encoded": base64.b64encode(VIDEO).decode(), "mimeType": "video/mp4"}
            response = {"videos": [inline]} if self.vertex else {"generatedSamples": [sample]}
        wrapped = response if self.vertex else {"generateVideoResponse": response}
        return Answer(body={"name": self.operation, "done": True, "response": wrapped})

    def failed(self, code: int, message: str) -> Answer:
        status = {"code": code, "message": message}
        return Answer(body={"name": self.operation, "done": True, "error": status})

    def answer(self, kind: str) -> Answer:
        script = {"submit": self.submit, "poll": self.poll, "download": self.download}[kind]
        default = {"submit": Answer(), "poll": self.done(), "download": Answer(body=VIDEO)}[kind]
        chosen = script.pop(0) if len(script) > 1 else (script[0] if script else default)
        return Answer(body={"name": self.operation}) if chosen.body is None else chosen

    def count(self, kind: str) -> int:
        return sum(k == kind for k, _ in self.asked)


def _kind(path: str) -> str:
    if path.endswith(":predictLongRunning"):
        return "submit"
    return "download" if ":download?alt=media" in path else "poll"


@contextmanager
def serve(*, vertex: bool) -> Iterator[Api]:
    api = Api(vertex)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _reply(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            sent = json.loads(self.rfile.read(length)) if length else None
            kind = _kind(self.path)
            api.asked.append((kind, sent))
            api.keys.add(str(self.headers.get("x-goog-api-key")))
            answer = api.answer(kind)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.send_header("content-type", "video/mp4" if kind == "download" else "application/json")
            self.end_headers()
            self.wfile.write(body if answer.cut_at is None else body[: answer.cut_at])
            if answer.cut_at is not None:
                self.close_connection = True

        do_GET = do_POST = _reply  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
