"""A control room that is killed under ingest, and clients that repeat what was not acknowledged, as exporters do."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

__all__ = ["ROWS", "Outcome", "batch", "free_port", "killed", "started", "stored"]

ROWS: Final = 50
_PAUSE_S: Final = 0.02
_ACKS: Final = 6  # by all clients together, between two kills
_SIGNALS: Final = ("traces", "logs", "metrics")


@dataclass
class Outcome:
    """What was acknowledged and what is in the store after the last kill.

    Attributes:
        acknowledged: ids of rows, by signal.
        stored: the same from the store, each as often as it is there.
        starts_s: seconds from each start of a process until it was ready.
        repeats: requests that had to be sent again.
    """

    acknowledged: dict[str, set[str]] = field(default_factory=lambda: {s: set() for s in _SIGNALS})
    stored: dict[str, list[str]] = field(default_factory=dict)
    starts_s: list[float] = field(default_factory=list)
    repeats: int = 0


def killed(data_dir: Path, kills: int, *, clients: int = 3, seed: int = 1) -> Outcome:
    """Kill -9 a server so many times while clients send spans, logs and samples over OTLP/HTTP."""
    outcome, chance = Outcome(), random.Random(seed)  # noqa: S311 - when to kill is no secret
    port, otlp = free_port(), free_port()
    lock, stopping = threading.Lock(), threading.Event()
    senders = [_Sender(number, otlp, outcome, lock, stopping) for number in range(1, clients + 1)]
    process = started(data_dir, port, otlp, outcome)
    try:
        for sender in senders:
            sender.start()
        for _ in range(kills):
            _until_acknowledged(outcome, lock, senders)
            time.sleep(chance.uniform(0, 0.05))  # anywhere in an insert
            process.kill()
            process.wait()
            process = started(data_dir, port, otlp, outcome)
    finally:
        stopping.set()
        for sender in senders:
            sender.join()
        process.send_signal(signal.SIGTERM)
        process.wait()
    for sender in senders:
        if sender.failure is not None:
            raise sender.failure
    outcome.stored = stored(data_dir)
    return outcome


def _until_acknowledged(outcome: Outcome, lock: threading.Lock, senders: list[_Sender]) -> None:
    def count() -> int:
        with lock:
            return sum(len(ids) for ids in outcome.acknowledged.values())

    enough, deadline = count() + _ACKS * ROWS, time.monotonic() + 60
    while count() < enough:
        for sender in senders:
            if sender.failure is not None:
                raise sender.failure
        assert time.monotonic() < deadline, "nothing is acknowledged"
        time.sleep(_PAUSE_S)


class _Sender(threading.Thread):
    """Sends one batch after the other, each until it is acknowledged."""

    def __init__(
        self, number: int, port: int, outcome: Outcome, lock: threading.Lock, stopping: threading.Event
    ) -> None:
        super().__init__(name=f"sender-{number}")
        self.failure: Exception | None = None
        self._number, self._outcome, self._lock, self._stopping = number, outcome, lock, stopping
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def run(self) -> None:
        try:
            turn = 0
            while not self._stopping.is_set():
                for name in _SIGNALS:
                    ids, body = batch(name, self._number, turn)
                    self._send(name, body)
                    with self._lock:
                        self._outcome.acknowledged[name].update(ids)
                turn += 1
        except Exception as error:  # noqa: BLE001 - told in the main thread
            self.failure = error
        finally:
            self._client.close()

    def _send(self, name: str, body: bytes) -> None:
        while True:
            try:
                reply = self._client.post(
                    f"/v1/{name}", content=body, headers={"content-type": "application/x-protobuf"}
                )
            except httpx.HTTPError:
                if self._stopping.is_set():  # the last server has failed, which the main thread says
                    raise
            else:
                if reply.status_code == httpx.codes.OK:
                    assert not reply.content, f"partial success: {reply.content!r}"
                    return
                assert reply.status_code == httpx.codes.SERVICE_UNAVAILABLE, reply.text
            with self._lock:
                self._outcome.repeats += 1
            time.sleep(_PAUSE_S)


def batch(name: str, number: int, turn: int) -> tuple[list[str], bytes]:
    """A batch that nobody else sends, and the ids of its rows."""
    now = time.time_ns() // 1_000_000 * 1_000_000
    resource = Resource(
        attributes=[KeyValue(key="service.name", value=AnyValue(string_value=f"sender-{number}"))]
    )
    ids = [f"{number:04x}{turn:06x}{row:06x}" for row in range(ROWS)]
    if name == "traces":
        traces = ExportTraceServiceRequest()
        spans = traces.resource_spans.add(resource=resource).scope_spans.add().spans
        for identity in ids:
            spans.add(
                trace_id=bytes.fromhex(identity * 2),
                span_id=bytes.fromhex(identity),
                name="work",
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1000,
            )
        return ids, traces.SerializeToString()
    if name == "logs":
        logs = ExportLogsServiceRequest()
        records = logs.resource_logs.add(resource=resource).scope_logs.add().log_records
        for identity in ids:
            records.add(time_unix_nano=now, body=AnyValue(string_value=identity))
        return ids, logs.SerializeToString()
    metrics = ExportMetricsServiceRequest()
    points = (
        metrics.resource_metrics.add(resource=resource)
        .scope_metrics.add()
        .metrics.add(name="load")
        .gauge.data_points
    )
    for row in range(ROWS):
        points.add(
            time_unix_nano=now,
            as_double=float(turn),
            attributes=[KeyValue(key="row", value=AnyValue(string_value=str(row)))],
        )
    return [f"sender-{number}/{row}/{now // 1_000_000}/{turn}" for row in range(ROWS)], (
        metrics.SerializeToString()
    )


def started(data_dir: Path, port: int, otlp: int, outcome: Outcome) -> subprocess.Popen[bytes]:
    """A server that is ready."""
    begun = time.monotonic()
    with (data_dir.parent / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rushes", "server", "--data-dir", str(data_dir), "--port", str(port),
             "--otlp-http-port", str(otlp), "--otlp-grpc-port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )  # fmt: skip
    deadline = begun + 60
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == httpx.codes.OK:
                outcome.starts_s.append(time.monotonic() - begun)
                return process
        except httpx.HTTPError:
            pass
        assert process.poll() is None, (data_dir.parent / "server.log").read_text()[-3000:]
        assert time.monotonic() < deadline, "the server does not come up"
        time.sleep(0.01)


def stored(data_dir: Path) -> dict[str, list[str]]:
    """What is in the folder, read in a process of its own, for an engine has one folder."""
    code = """
    import json, sys
    from pathlib import Path
    from rushes.store.chdb_store import ChdbStore
    store = ChdbStore(Path(sys.argv[1]))
    def ids(sql):
        return [row["id"] for row in store.rows(sql)]
    print(json.dumps({
        "traces": ids("SELECT span_id AS id FROM spans WHERE name = 'work'"),
        "logs": ids("SELECT body AS id FROM logs WHERE service LIKE 'sender-%'"),
        "metrics": ids(
            "WITH labelled AS (SELECT series_id, any(labels) AS of FROM series WHERE metric = 'load' "
            "GROUP BY series_id) "
            "SELECT concat(of['job'], '/', of['row'], '/', toString(toUnixTimestamp64Milli(ts)), '/', toString(value)) "
            "AS id FROM samples INNER JOIN labelled USING series_id WHERE metric = 'load'"),
    }))
    store.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(data_dir / "telemetry")],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
