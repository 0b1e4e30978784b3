"""Searching for traces and log records by everything that can be asked of them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otlp_messages import logs_request
from rushes.catalog import EVENTS
from rushes.query import LogFilter, Logs, SpanFilter, Traces
from telemetry_sender import S, say, send, span
from telemetry_store import NOW_NS, shared_store, unique


@pytest.fixture(scope="module")
def stage() -> tuple[str, dict[str, str]]:
    """The name of a span that three traces have, and the traces' ids."""
    name = unique("stage")
    ids = {key: os.urandom(16) for key in ("quick", "slow", "broken")}
    root = span(
        ids["quick"], "request", 0, 9 * S, attributes={"model": "LTX2", "tier": "free", "request_id": name}
    )
    span(ids["quick"], name, S, S, parent_span_id=bytes.fromhex(root), attributes={"steps": 4, "flag": True})
    span(ids["slow"], "request", 10 * S, 4 * S, attributes={"model": "MOCHI1", "tier": "free"})
    span(ids["slow"], name, 10 * S, 3 * S, kind=2, attributes={"steps": 4.0, "sampler": "", "list": [1, 2]})
    span(ids["broken"], name, 20 * S, 2 * S, service="other", status={"code": 2}, attributes={"steps": "8"})
    return name, {key: trace_id.hex() for key, trace_id in ids.items()}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["broken", "slow", "quick"]),
        ({"service": "other"}, ["broken"]),
        ({"kind": "server"}, ["slow"]),
        ({"status": "error"}, ["broken"]),
        ({"min_duration_ms": 1500.0}, ["broken", "slow"]),
        ({"max_duration_ms": 2000.0}, ["broken", "quick"]),
        ({"min_duration_ms": 1500.0, "max_duration_ms": 2500.0}, ["broken"]),
        ({"attributes": [("steps", "4")]}, ["slow", "quick"]),
        ({"attributes": [("steps", "4.0")]}, ["slow", "quick"]),
        ({"attributes": [("steps", "8")]}, ["broken"]),
        ({"attributes": [("steps", "4"), ("flag", "true")]}, ["quick"]),
        ({"attributes": [("sampler", "")]}, ["slow"]),
        ({"attributes": [("sampler", None)]}, ["slow"]),
        ({"attributes": [("list", "[1,2]")]}, ["slow"]),
        ({"attributes": [("flag", None)]}, ["quick"]),
        ({"attributes": [("service.name", "other")]}, ["broken"]),
        ({"attributes": [("steps", "5")]}, []),
        ({"model": "LTX2"}, ["quick"]),
        ({"tier": "free"}, ["slow", "quick"]),
        ({"tier": "free", "model": "LTX2"}, ["quick"]),
        ({"start_ns": NOW_NS + 10 * S}, ["broken", "slow"]),
        ({"end_ns": NOW_NS + 10 * S}, ["slow", "quick"]),
        ({"start_ns": NOW_NS + 5 * S, "end_ns": NOW_NS + 15 * S, "tier": "free"}, ["slow"]),
    ],
)
def test_traces_are_found_by_what_their_spans_are(
    stage: tuple[str, dict[str, str]], asked: dict[str, Any], expected: list[str]
) -> None:
    name, ids = stage
    traces = Traces(shared_store(), clock_ns=lambda: NOW_NS + 60 * S)
    found = traces.find(SpanFilter(name=name, **asked))
    assert [one.trace_id for one in found] == [ids[key] for key in expected]


def test_traces_are_found_by_their_request(stage: tuple[str, dict[str, str]]) -> None:
    name, ids = stage
    found = Traces(shared_store()).find(SpanFilter(request_id=name))
    assert [one.trace_id for one in found] == [ids["quick"]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("newest", ["broken", "slow", "quick"]),
        ("oldest", ["quick", "slow", "broken"]),
        ("longest", ["slow", "broken", "quick"]),
        ("shortest", ["quick", "broken", "slow"]),
    ],
)
def test_traces_are_ordered_by_the_spans_that_fit(
    stage: tuple[str, dict[str, str]], order: str, expected: list[str]
) -> None:
    name, ids = stage
    traces = Traces(shared_store(), clock_ns=lambda: NOW_NS + 60 * S)
    asked = SpanFilter(name=name)
    assert [one.trace_id for one in traces.find(asked, order=order)] == [ids[key] for key in expected]
    assert traces.ids(asked, order=order, limit=1) == [ids[expected[0]]]


def test_several_traces_come_in_the_order_asked_for(stage: tuple[str, dict[str, str]]) -> None:
    _, ids = stage
    asked = [ids["slow"].upper(), "0" * 32, ids["quick"]]
    found = Traces(shared_store()).get_all(asked)
    assert list(found) == [ids["slow"], ids["quick"]]
    assert [len(spans) for spans in found.values()] == [2, 2]
    assert Traces(shared_store()).get_all([]) == {}


@pytest.fixture(scope="module")
def request_id() -> str:
    request_id = unique("req")
    trace_id = bytes(range(60, 76))
    for number, (level, service) in enumerate([(5, "a"), (9, "a"), (13, "b"), (17, "b"), (21, "b")]):
        say(f"event.{number}", number, service=service, level=level, request_id=request_id, trace_id=trace_id)
    return request_id


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"level": "warn"}, [2]),
        ({"level": "WARNING"}, [2]),
        ({"min_level": "warning"}, [2, 3, 4]),
        ({"min_level": "CRITICAL"}, [4]),
        ({"min_level": "TRACE"}, [0, 1, 2, 3, 4]),
        ({"service": "a"}, [0, 1]),
        ({"component": "worker", "event": "event.3"}, [3]),
        ({"component": "gateway"}, []),
        ({"start_ns": NOW_NS + 2 * S}, [2, 3, 4]),
        ({"end_ns": NOW_NS + 2 * S}, [0, 1, 2]),
        ({"since_ns": NOW_NS + 2 * S}, [3, 4]),
        ({"trace_id": bytes(range(60, 76)).hex(), "min_level": "ERROR"}, [3, 4]),
        ({"span_id": "0" * 15 + "1"}, []),
    ],
)
def test_records_are_found_by_their_fields(
    request_id: str, asked: dict[str, Any], expected: list[int]
) -> None:
    logs = Logs(shared_store(), clock_ns=lambda: NOW_NS + 60 * S)
    found = logs.find(LogFilter(request_id=request_id, **asked))
    assert [record["event"] for record in found] == [f"event.{number}" for number in expected]


def test_a_level_in_words_alone_counts_too() -> None:
    request_id = unique("req")
    send(
        "logs",
        logs_request(severity_number=0, severity_text="critical", attributes={"request_id": request_id}),
    )
    logs = Logs(shared_store())
    assert len(logs.find(LogFilter(request_id=request_id, min_level="ERROR"))) == 1


def test_keys_tell_records_apart_and_stay(request_id: str) -> None:
    logs = Logs(shared_store())
    asked = LogFilter(request_id=request_id)
    keys = [key for key, _, _ in logs.keyed(asked)]
    assert len(set(keys)) == 5
    assert [key for key, _, _ in logs.keyed(replace(asked, min_level="WARN"))] == keys[2:]


def test_what_was_sent_twice_is_shown_once() -> None:
    request_id = unique("req")

    def record(event: str, at_s: int) -> Any:
        named = {"event": event, "request_id": request_id}
        return logs_request(time_unix_nano=NOW_NS + at_s * S, attributes=named)

    first, again = record("twice", 1), record("once", 0)
    again.resource_logs.extend(first.resource_logs)  # the sender repeats what it holds along with the rest
    send("logs", first)
    send("logs", again)
    logs = Logs(shared_store())
    assert [each["event"] for each in logs.find(LogFilter(request_id=request_id))] == ["once", "twice"]
    assert [each["event"] for each in logs.find(LogFilter(request_id=request_id), limit=1)] == ["twice"]


@pytest.mark.parametrize(
    ("body", "named", "shown"),
    [
        ("the queue is full", {"event": "shop.order.refused"}, {"message": "the queue is full"}),
        ("the queue is full", {"message": "short"}, {"body": "the queue is full", "message": "short"}),
        ("shop.order.refused", {"event": "shop.order.refused"}, {}),
        (EVENTS["generation.job.accepted"].message, {"event": "generation.job.accepted"}, {}),
        ("said by another", {"event": "generation.job.accepted"}, {"message": "said by another"}),
    ],
)
def test_what_a_record_says_is_shown_beside_its_event(
    body: str, named: dict[str, str], shown: dict[str, str]
) -> None:
    request_id = unique("req")
    send("logs", logs_request(body=body, attributes={"request_id": request_id, **named}))
    (record,) = Logs(shared_store()).find(LogFilter(request_id=request_id))
    assert record["context"] == shown


@settings(max_examples=40)
@given(
    text=st.text(max_size=20),
    number=st.floats(allow_nan=False),
    at=st.integers(0, 2**62),
)
def test_nothing_that_is_asked_breaks_a_statement(text: str, number: float, at: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    store = shared_store()
    Traces(store).find(
        SpanFilter(
            service=text, name=text, kind=text, status=text, attributes=[(text, text), (text, None)],
            model=text, tier=text, request_id=text, min_duration_ms=number, start_ns=at, end_ns=at,
        )
    )  # fmt: skip
    Logs(store).find(
        LogFilter(
            trace_id=text, span_id=text, level=text, service=text, component=text, worker_id=text,
            event=text, request_id=text, q=text, since_ns=at, start_ns=at, end_ns=at,
        )
    )  # fmt: skip
