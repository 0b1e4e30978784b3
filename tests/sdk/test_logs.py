"""Log lines: the specification's keys in its order, in the trace, with nothing in them that must not be told."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from recording import Recorded
from rushes.catalog import Level, Prompt, Secret
from rushes.sdk import Undeclared, logs, shield, tracing
from rushes.sdk.log_format import Sink, set_sink

KEYS = [
    "timestamp", "level", "service", "component", "worker_id", "event", "request_id", "context", "trace_id", "span_id",
]  # fmt: skip


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    set_sink(Sink(stream, service="video-generation", level=Level.INFO, terminal=False))
    yield stream
    set_sink(Sink(None))


def test_a_line_is_the_specifications_json(recorded: Recorded, written: io.StringIO) -> None:
    with tracing.span("gateway") as span:
        logs.get_logger("dit-worker").info(
            "generation.step.completed",
            request_id="video_1",
            model="MOCHI1",
            step=30,
            total_steps=50,
            step_duration_ms=680.0,
            gpu_memory_used_gb=None,
        )
    line = json.loads(written.getvalue())
    assert list(line) == KEYS
    assert line["context"] == {"model": "MOCHI1", "step": 30, "total_steps": 50, "step_duration_ms": 680.0}
    assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert line["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert line["timestamp"].endswith("Z")
    assert line["level"] == "INFO"
    (sent,) = recorded.logs.get_finished_logs()
    attributes = dict(sent.log_record.attributes or {})
    assert attributes["event"] == "generation.step.completed"
    assert attributes["request_id"] == "video_1"
    assert attributes["step"] == 30


def test_debug_is_silent_unless_asked_for(recorded: Recorded, written: io.StringIO) -> None:
    logs.get_logger("x").debug("worker.status.changed", status="idle")
    assert written.getvalue() == ""
    assert recorded.logs.get_finished_logs() == ()


def test_an_undeclared_event_or_field_raises_under_test(written: io.StringIO) -> None:
    with pytest.raises(Undeclared, match="no such log event"):
        logs.get_logger("x").info("prompt.received")
    with pytest.raises(Undeclared, match="log field prompt is not declared"):
        logs.get_logger("x").info("generation.job.accepted", prompt="a red ball")


def test_what_must_not_be_told_is_not(recorded: Recorded, written: io.StringIO) -> None:
    key = "rk_0123456789abcdefghijklmnopqrstuv"
    prompt = "the quick brown canary's song"
    log = logs.get_logger("x")
    with shield(Prompt(prompt)):
        log.error("gateway.request.failed", exc=ValueError(f"can't tokenize {prompt!r}"))
        log.error("gateway.request.failed", error=f"Authorization: Bearer {key}")
        log.error("gateway.request.failed", error=Secret(key))
        log.error(
            "gateway.request.failed", error="GET https://user:hunter2@host/x?X-Amz-Signature=abcdef0123456789"
        )
    everything = written.getvalue() + repr(recorded.logs.get_finished_logs())
    for canary in ("canary", key, "hunter2", "abcdef0123456789"):
        assert canary not in everything
    assert "…stuv" in everything


def test_an_exception_as_a_field_is_redacted(recorded: Recorded, written: io.StringIO) -> None:
    with shield(Prompt("a canary sings")):
        logs.get_logger("x").error("gateway.request.failed", error=ValueError("on 'a canary sings'"))
    assert "canary" not in written.getvalue()


def test_a_librarys_exception_comes_with_its_cause(recorded: Recorded, written: io.StringIO) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.bridge_stdlib()
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            logging.getLogger("library.pool").exception("the handler failed")
    finally:
        root.handlers[:], root.level = handlers, level
    told = json.loads(written.getvalue())["context"]["error"]
    assert told.startswith("the handler failed: ZeroDivisionError: division by zero (")
    assert "test_logs.py" in told


def test_library_lines_come_in_our_format_and_redacted(recorded: Recorded, written: io.StringIO) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.bridge_stdlib()
        logging.getLogger("urllib3").warning("retry with token=%s", "s3cr3t-value")
    finally:
        root.handlers[:], root.level = handlers, level
    line = json.loads(written.getvalue())
    assert (line["level"], line["component"], line["event"]) == ("WARN", "urllib3", "log.message")
    assert "s3cr3t-value" not in written.getvalue()


def test_a_closed_stream_does_not_fail_the_caller(recorded: Recorded) -> None:
    stream = io.StringIO()
    stream.close()
    set_sink(Sink(stream))  # which asks the stream whether it is a terminal, too
    try:
        logs.get_logger("x").info("worker.status.changed", status="idle")
    finally:
        set_sink(Sink(None))
