"""OTLP over HTTP as clients see it: replies, limits, and bodies that are none."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from typing import Any, cast

import httpx
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs are published
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette

from otlp_messages import logs_request, trace_request
from otlp_server import Served
from recording import Recorded
from rushes.ingest import Limits, Receiver
from rushes.ingest.http import routes
from rushes.ingest.inflate import inflated
from rushes.ingest.limits import BodyTooLarge, UndecodableBody
from rushes.query import Logs, Traces
from rushes.store.chdb_store import ChdbStore
from rushes.store.interface import Param, Row, Store, StoreUnavailable, Table
from telemetry_store import NOW_NS, shared_store

PROTOBUF = {"content-type": "application/x-protobuf"}
SIGNALS = ("traces", "metrics", "logs")


def post(served: Served, signal: str, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{served.url}/v1/{signal}", content=body, headers=PROTOBUF | named)


def test_full_success_leaves_partial_success_unset(served: Served, store: ChdbStore) -> None:
    trace_id = os.urandom(16)
    reply = post(served, "traces", trace_request(trace_id, count=3).SerializeToString())
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/x-protobuf"
    assert not ExportTraceServiceResponse.FromString(reply.content).HasField("partial_success")
    assert len(Traces(store).get(trace_id.hex())) == 3
    assert served.heard.calls == [("traces", {trace_id.hex()})]
    assert served.receiver.stats.spans == 3


@pytest.mark.parametrize("signal", SIGNALS)
def test_an_empty_request_is_fine(served: Served, signal: str) -> None:
    reply = post(served, signal, b"")
    assert (reply.status_code, reply.content) == (200, b"")


def test_gzip_in_several_members_is_inflated(served: Served, store: ChdbStore) -> None:
    trace_id = os.urandom(16)
    body = trace_request(trace_id).SerializeToString()
    packed = gzip.compress(body[:10]) + gzip.compress(body[10:])
    assert post(served, "traces", packed, content_encoding="gzip").status_code == 200
    assert len(Traces(store).get(trace_id.hex())) == 1


def test_what_is_refused_is_said_and_counted_and_the_rest_is_kept(served: Served, store: ChdbStore) -> None:
    trace_id = os.urandom(16)
    request = trace_request(trace_id)
    spans = request.resource_spans[0].scope_spans[0].spans
    good = spans[0]
    for change in (
        {"trace_id": b"short"},
        {"span_id": bytes(8)},
        {"start_time_unix_nano": NOW_NS + 10**12, "end_time_unix_nano": NOW_NS + 10**12},
        {"start_time_unix_nano": 0, "end_time_unix_nano": 1},
        {"end_time_unix_nano": good.start_time_unix_nano - 1},
    ):
        bad = spans.add()
        bad.CopyFrom(good)
        for name, value in change.items():
            setattr(bad, name, value)
    reply = ExportTraceServiceResponse.FromString(post(served, "traces", request.SerializeToString()).content)
    assert reply.partial_success.rejected_spans == 5
    assert "1 spans refused: timestamp more than 600 s in the future" in reply.partial_success.error_message
    assert len(Traces(store).get(trace_id.hex())) == 1
    assert served.receiver.stats.refused == {
        "bad_trace_id": 1,
        "bad_span_id": 1,
        "in_the_future": 1,
        "too_old": 1,
        "negative_duration": 1,
    }


def test_undecodable_is_400_with_a_status_and_never_stored(served: Served) -> None:
    for body, headers in ((b"\xff\xff\xff", {}), (b"not gzip", {"content_encoding": "gzip"})):
        reply = post(served, "traces", body, **headers)
        assert reply.status_code == 400
        status = Status.FromString(reply.content)
        assert status.code == 3
        assert status.message
    cut_off = gzip.compress(trace_request().SerializeToString())[:-9]
    assert post(served, "traces", cut_off, content_encoding="gzip").status_code == 400
    assert served.receiver.stats.spans == 0
    assert served.receiver.stats.failed["undecodable"] == 3


def test_other_content_types_and_encodings_are_415(served: Served) -> None:
    assert post(served, "traces", b"", content_type="text/plain").status_code == 415
    assert post(served, "traces", b"", content_encoding="br").status_code == 415
    assert served.receiver.stats.failed == {"unsupported": 2}


def test_a_gzip_bomb_is_413(served: Served) -> None:
    bomb = gzip.compress(bytes(50 << 20))
    reply = post(served, "traces", bomb, content_encoding="gzip")
    assert reply.status_code == 413
    assert "after inflation" in Status.FromString(reply.content).message
    assert post(served, "logs", bytes((1 << 20) + 1)).status_code == 413
    assert served.receiver.stats.failed["too_large"] == 2


def test_inflation_stops_at_the_limit_instead_of_after_it() -> None:
    inflater = zlib.compressobj(wbits=31)
    bomb = inflater.compress(bytes(64 << 20)) + inflater.flush()
    fed = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal fed
        for start in range(0, len(bomb), 512):
            fed += 512
            yield bomb[start : start + 512]

    with pytest.raises(BodyTooLarge):
        asyncio.run(inflated(chunks(), encoding="gzip", limit=1 << 20))
    assert fed < len(bomb) / 10


@given(body=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 3000), max_size=4))
def test_inflating_is_the_inverse_of_gzip_however_it_is_cut(body: bytes, cuts: list[int]) -> None:
    packed = gzip.compress(body)
    places = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]

    async def chunks() -> AsyncIterator[bytes]:
        for start, end in pairwise(places):
            yield packed[start:end]

    assert asyncio.run(inflated(chunks(), encoding="gzip", limit=3000)) == body
    if body:
        with pytest.raises((UndecodableBody, BodyTooLarge)):
            asyncio.run(inflated(chunks(), encoding="gzip", limit=len(body) - 1))


def test_otlp_json_with_hex_ids_numbers_as_text_and_unknown_fields(served: Served, store: ChdbStore) -> None:
    trace_id = os.urandom(16).hex()
    span = {
        "traceId": trace_id.upper(),
        "spanId": "00f067aa0ba902b7",
        "name": "from a browser",
        "kind": 2,
        "startTimeUnixNano": str(NOW_NS - 5),
        "endTimeUnixNano": NOW_NS,
        "attributes": [{"key": "traceId", "value": {"intValue": "9007199254740993"}}],
        "notYetInvented": {"a": 1},
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    reply = httpx.post(f"{served.url}/v1/traces", json=body)
    assert reply.status_code == 200
    assert reply.json() == {}
    (stored,) = Traces(store).get(trace_id)
    assert (stored.span_id, stored.kind, stored.duration_ns) == ("00f067aa0ba902b7", "server", 5)
    assert stored.attributes == {"traceId": 9007199254740993}
    for bad in (
        [1],
        {"resourceSpans": 3},
    ):
        refused = httpx.post(f"{served.url}/v1/traces", json=bad)
        assert refused.status_code == 400
        assert refused.json()["message"]


class Full:
    """A store whose disk is full."""

    retention_s = 1000

    def insert(self, table: Table, rows: Any) -> None:
        raise StoreUnavailable(f"{table}: no space left")

    def query(self, sql: str, params: Mapping[str, Param] | None = None) -> Any:
        return shared_store().query(sql, params)

    def rows(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        return []

    def close(self) -> None: ...


def ask(
    receiver: Receiver, signal: str, body: bytes, headers: dict[str, str] | None = None
) -> httpx.Response:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=routes(receiver)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(f"/v1/{signal}", content=body, headers=PROTOBUF | (headers or {}))

    return asyncio.run(call())


def test_a_store_that_cannot_take_it_is_503_with_retry_after() -> None:
    heard: list[str] = []
    receiver = Receiver(
        cast("Store", Full()), clock_ns=lambda: NOW_NS, on_ingest=lambda kind, _: heard.append(kind)
    )
    reply = ask(receiver, "logs", logs_request().SerializeToString())
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) > 0
    assert "no space left" in Status.FromString(reply.content).message
    assert receiver.stats.logs == 0
    assert receiver.stats.failed == {"store": 1}
    assert not heard
    receiver.close()


def said(recorded: Recorded) -> list[dict[str, Any]]:
    """The component ingest's log lines: event and fields."""
    lines = [dict(line.log_record.attributes or {}) for line in recorded.logs.get_finished_logs()]
    fields = ("event", "signal", "reason", "error")
    return [{f: line[f] for f in fields if f in line} for line in lines if line["component"] == "ingest"]


def test_what_is_refused_is_logged_once_a_minute_for_each_signal_and_reason(recorded: Recorded) -> None:
    now_s = NOW_NS // 10**9
    clock = iter([now_s] * 100)
    receiver = Receiver(
        shared_store(), clock_ns=lambda: next(clock) * 10**9, limits=Limits(body_bytes=10_000)
    )
    late = trace_request(start_time_unix_nano=0, end_time_unix_nano=1).SerializeToString()
    for _ in range(3):
        assert ask(receiver, "traces", late).status_code == 200
        assert ask(receiver, "logs", b"\xff\xff").status_code == 400
        assert ask(receiver, "logs", bytes(20_000)).status_code == 413
    first = [
        {"event": "ingest.refused", "signal": "traces", "reason": "too_old"},
        {"event": "ingest.refused", "signal": "logs", "reason": "undecodable"},
        {"event": "ingest.refused", "signal": "logs", "reason": "too_large"},
    ]
    assert said(recorded) == first
    clock = iter([now_s + 59] * 20)
    ask(receiver, "traces", late)
    assert said(recorded) == first
    clock = iter([now_s + 60] * 20)
    ask(receiver, "traces", late)
    assert said(recorded) == [*first, first[0]]
    receiver.close()


def test_a_failing_store_is_logged_once_a_minute_with_its_error(recorded: Recorded) -> None:
    receiver = Receiver(cast("Store", Full()), clock_ns=lambda: NOW_NS)
    for _ in range(3):
        ask(receiver, "logs", logs_request().SerializeToString())
    assert said(recorded) == [
        {"event": "ingest.store.failed", "signal": "logs", "error": "logs: no space left"}
    ]
    receiver.close()


def test_more_waiting_requests_than_allowed_are_told_to_come_back() -> None:
    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS, limits=Limits(pending=0))
    reply = ask(receiver, "logs", b"")
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) > 0
    assert receiver.stats.failed == {"overloaded": 1}
    receiver.close()


def test_a_listeners_defect_refuses_nothing() -> None:
    def broken(_: str, __: set[str]) -> None:
        raise RuntimeError

    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS, on_ingest=broken)
    assert ask(receiver, "logs", logs_request().SerializeToString()).status_code == 200
    receiver.close()


def _overwritten(at: int, noise: bytes) -> bytes:
    whole = trace_request(bytes(range(1, 17)), attributes={"a": "b", "n": 1}).SerializeToString()
    return whole[:at] + noise + whole[at + len(noise) :]


@settings(max_examples=120)
@given(
    signal=st.sampled_from(SIGNALS),
    body=st.one_of(
        st.binary(max_size=200),
        # A valid request with one stretch overwritten reaches deeper than noise.
        st.builds(
            _overwritten,
            st.integers(0, 150),
            st.binary(min_size=1, max_size=6),
        ),
    ),
    kind=st.sampled_from(["application/x-protobuf", "application/json"]),
    encoding=st.sampled_from(["", "gzip"]),
)
def test_no_body_is_ever_an_internal_error(signal: str, body: bytes, kind: str, encoding: str) -> None:
    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS)
    headers = {"content-type": kind} | ({"content-encoding": encoding} if encoding else {})
    assert ask(receiver, signal, body, headers).status_code in (200, 400)
    receiver.close()


def test_logs_reach_their_columns(served: Served, store: ChdbStore) -> None:
    request_id = os.urandom(8).hex()
    fields = {
        "event": "generation.step.completed",
        "request_id": request_id,
        "component": "dit-worker",
        "worker_id": "gpu-0",
        "step": 30,
        "gpu_memory_used_gb": 45.2,
        "model": "MOCHI1",
    }
    trace_id = os.urandom(16)
    record = logs_request(
        "video-generation",
        attributes=fields,
        severity_number=13,
        severity_text="note",
        trace_id=trace_id,
        span_id=bytes(8),
    )
    assert post(served, "logs", record.SerializeToString()).status_code == 200
    assert Logs(store).search(request_id=request_id) == [
        {
            "timestamp": "2026-01-01T00:00:00.000Z",
            "level": "WARN",
            "service": "video-generation",
            "component": "dit-worker",
            "worker_id": "gpu-0",
            "event": "generation.step.completed",
            "request_id": request_id,
            "context": {
                "message": "a sentence",  # the body, beside the event
                "step": 30,
                "gpu_memory_used_gb": 45.2,
                "model": "MOCHI1",
            },
            "trace_id": trace_id.hex(),
            "span_id": "",
        }
    ]
    assert served.heard.calls == [("logs", {trace_id.hex()})]
