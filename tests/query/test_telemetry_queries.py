"""Traces, logs and videos read back as they were reported."""

from __future__ import annotations

import asyncio
import json
import operator
import os
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from otlp_messages import logs_request, trace_request
from rushes.ingest import Receiver
from rushes.ingest.otlp_json import parse_json
from rushes.query import Logs, Traces, Videos
from rushes.store.chdb_store import ChdbStore
from telemetry_store import NOW_NS, shared_store, unique

S = 1_000_000_000


def send(signal: Any, request: Any) -> None:
    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS + 100 * S)
    reply = asyncio.run(receiver.receive(signal, request.SerializeToString()))
    assert not reply.HasField("partial_success"), reply
    receiver.close()


def span(trace_id: bytes, name: str, start: int, duration: int, **more: Any) -> bytes:
    span_id: bytes = more.pop("span_id", os.urandom(8))
    send(
        "traces",
        trace_request(
            trace_id,
            name=name,
            span_id=span_id,
            start_time_unix_nano=NOW_NS + start,
            end_time_unix_nano=NOW_NS + start + duration,
            **more,
        ),
    )
    return span_id


def say(event: str, request_id: str, at_s: float, trace_id: bytes = b"", **context: Any) -> None:
    send(
        "logs",
        logs_request(
            "studio",
            time_unix_nano=NOW_NS + round(at_s * S),
            trace_id=trace_id,
            attributes={"event": event, "request_id": request_id, "component": "worker"} | context,
        ),
    )


def test_a_trace_by_its_id_is_sorted_and_without_repetitions(store: ChdbStore) -> None:
    trace_id = os.urandom(16)
    root = span(trace_id, "video_generation_request", 0, 9 * S, attributes={"n": 1})
    late = span(trace_id, "late", 2 * S, S, parent_span_id=root, status={"code": 2, "message": "oom"})
    span(trace_id, "early", S, S, parent_span_id=root)
    span(trace_id, "late", 2 * S, S, parent_span_id=root, span_id=late, attributes={"sent": "twice"})
    found = Traces(store).get(trace_id.hex().upper())
    assert [(row.name, row.start_ns - NOW_NS, row.duration_ns) for row in found] == [
        ("video_generation_request", 0, 9 * S),
        ("early", S, S),
        ("late", 2 * S, S),
    ]
    assert Traces(store).get("0" * 32) == []


def test_otlp_json_reads_back_into_the_same_message(store: ChdbStore) -> None:
    trace_id = os.urandom(16)
    request = trace_request(
        trace_id,
        kind=5,
        trace_state="a=b",
        parent_span_id=bytes(range(1, 9)),
        attributes={"s": "x", "i": 2**60, "f": 1.5, "b": False, "l": ["a", 1], "m": {"k": "v"}},
    )
    stored = request.resource_spans[0].scope_spans[0].spans[0]
    stored.status.code, stored.status.message = Status.STATUS_CODE_ERROR, "why"
    event = stored.events.add(name="e", time_unix_nano=NOW_NS)
    event.attributes.add(key="k").value.int_value = 3
    stored.links.add(trace_id=bytes(range(1, 17)), span_id=bytes(range(1, 9)))
    send("traces", request)
    document = Traces(store).otlp_json(trace_id.hex())
    back = TracesData()
    parse_json(json.dumps(document).encode(), back)
    (found,) = back.resource_spans[0].scope_spans[0].spans
    expected, actual = (json_format.MessageToDict(one) for one in (stored, found))
    for message in (expected, actual):  # their order is nobody's promise
        message["attributes"].sort(key=operator.itemgetter("key"))
    assert actual == expected
    json_span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert json_span["traceId"] == trace_id.hex()
    assert json_span["startTimeUnixNano"] == str(stored.start_time_unix_nano)


def test_search_finds_traces_by_any_fitting_span_newest_first(store: ChdbStore) -> None:
    name = unique("stage")
    old, new, broken = (os.urandom(16) for _ in range(3))
    attributes = {"request_id": "r1", "model": "LTX2", "tier": "free"}
    root = span(old, "video_generation_request", 0, 5 * S, attributes=attributes)
    span(old, name, S, S, parent_span_id=root)
    span(new, name, 10 * S, 3 * S)
    root = span(broken, "request", 20 * S, 8 * S)
    span(broken, name, 21 * S, S, parent_span_id=root, status={"code": 2})
    traces = Traces(store, clock_ns=lambda: NOW_NS + 60 * S)
    found = traces.search(name=name)
    assert [one.trace_id for one in found] == [broken.hex(), new.hex(), old.hex()]
    last = found[-1]
    assert (last.root_name, last.span_count, last.duration_ns) == ("video_generation_request", 2, 5 * S)
    assert (last.request_id, last.model, last.tier, last.status) == ("r1", "LTX2", "free", "unset")
    assert found[0].status == "error"
    assert [one.trace_id for one in traces.search(name=name, status="error")] == [broken.hex()]
    assert [one.trace_id for one in traces.search(name=name, min_duration_ms=2500)] == [new.hex()]
    assert [one.trace_id for one in traces.search(name=name, limit=1)] == [broken.hex()]
    assert traces.search(name=name, service="nobody") == []
    for endless in (10**400, float("inf")):
        assert traces.search(name=name, min_duration_ms=endless) == []
    # Far from now, still found.
    assert len(Traces(store, clock_ns=lambda: NOW_NS + 90 * 86_400 * S).search(name=name)) == 3


def test_logs_are_the_newest_oldest_first_and_filtered(store: ChdbStore) -> None:
    request_id = unique("req")
    for number in range(5):
        say("generation.step.completed", request_id, number, step=number, model=f"M{number}")
    say("generation.job.failed", request_id, 9, reason="Out Of Memory")
    logs = Logs(store, clock_ns=lambda: NOW_NS + 60 * S)
    newest = logs.search(request_id=request_id, limit=3)
    assert [record["context"].get("step") for record in newest] == [3, 4, None]
    assert list(newest[0]) == [
        "timestamp", "level", "service", "component", "worker_id",
        "event", "request_id", "context", "trace_id", "span_id",
    ]  # fmt: skip
    failed = logs.search(request_id=request_id, event="generation.job.failed")
    assert [record["timestamp"] for record in failed] == ["2026-01-01T00:00:09.000Z"]
    assert len(logs.search(request_id=request_id, q="of mem")) == 1
    assert len(logs.search(request_id=request_id, q="m3")) == 1
    assert len(logs.search(request_id=request_id, since_ns=NOW_NS + 3 * S)) == 2
    assert len(logs.search(request_id=request_id, level="info")) == 6
    assert logs.search(request_id=request_id, level="ERROR") == []
    assert logs.search(request_id=request_id, q="%_\\' --") == []


def test_a_videos_state_follows_its_events(store: ChdbStore) -> None:
    request_id, trace_id = unique("vid"), os.urandom(16)
    videos = Videos(store)
    assert videos.get(request_id) is None
    say(
        "generation.job.accepted", request_id, 0, trace_id,
        model="MOCHI1", tier="free", resolution="64x48", seconds=2.0, total_steps=4,
    )  # fmt: skip
    first = videos.get(request_id)
    assert first is not None
    assert (first.status, first.model, first.tier, first.resolution) == ("queued", "MOCHI1", "free", "64x48")
    assert (first.seconds, first.step, first.total_steps, first.finished_ns) == (2.0, None, 4, None)
    assert (first.accepted_ns, first.duration_ns, first.media, first.error) == (NOW_NS, None, "", "")
    seen = []
    for second, event in enumerate(
        ("generation.encode.started", "generation.job.waiting", "generation.job.assigned"), start=1
    ):
        say(event, request_id, second, trace_id)
        row = videos.get(request_id)
        assert row is not None
        seen.append(row.status)
    assert seen == ["encoding", "waiting", "generating"]
    for step in (1, 2):
        say("generation.step.completed", request_id, 4 + step, trace_id, step=step, total_steps=4)
    row = videos.get(request_id)
    assert row is not None
    assert (row.status, row.step, row.attributed_ratio) == ("generating", 2, None)
    say("generation.job.completed", request_id, 8, trace_id, media="sha256/ab/abcd.mp4", duration_seconds=8.0)
    ended = videos.get(request_id)
    assert ended is not None
    assert (ended.status, ended.finished_ns, ended.duration_ns) == ("completed", NOW_NS + 8 * S, 8 * S)
    span(
        trace_id, "video_generation_request", 0, 9 * S,
        attributes={"request_id": request_id, "rushes.attributed_ratio": 0.98, "rushes.compute_seconds": 7.5},
    )  # fmt: skip
    whole = videos.get(request_id)
    assert whole is not None
    assert (whole.duration_ns, whole.attributed_ratio) == (9 * S, 0.98)
    assert (whole.compute_s, whole.wasted_s, whole.cost_usd) == (7.5, None, None)
    assert (whole.media, whole.trace_id) == ("sha256/ab/abcd.mp4", trace_id.hex())


def test_videos_are_listed_newest_first_by_model_and_status(store: ChdbStore) -> None:
    model = unique("MODEL")
    ids = [unique("vid") for _ in range(4)]
    for number, request_id in enumerate(ids):
        say("generation.job.accepted", request_id, number, model=model, tier="free")
    say("generation.job.failed", ids[1], 20, reason="oom", error="CUDA out of memory")
    say("generation.job.cancelled", ids[2], 21)
    say("generation.job.waiting", ids[2], 22)  # a straggler changes nothing
    videos = Videos(store)
    listed = videos.list(model=model)
    assert [row.request_id for row in listed] == ids[::-1]
    assert [row.status for row in listed] == ["queued", "cancelled", "failed", "queued"]
    assert listed[2].error == "CUDA out of memory"
    assert [row.request_id for row in videos.list(model=model, status="failed")] == [ids[1]]
    assert [row.request_id for row in videos.list(model=model, limit=2)] == ids[:1:-1]
    page = videos.list(model=model, before_ns=NOW_NS + 2 * S)
    assert [row.request_id for row in page] == [ids[1], ids[0]]
    with pytest.raises(ValueError, match="status must be one of queued"):
        videos.list(status="lost")
