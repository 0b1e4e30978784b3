"""Spans: a root that one process promises and another writes, and stages under it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, StatusCode

from recording import Recorded
from rushes.sdk import Undeclared, tracing


def ids(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def test_a_root_is_written_at_the_end_with_the_ids_it_was_promised(recorded: Recorded) -> None:
    root = tracing.new_root()
    with tracing.under(root), tracing.span("gateway", {"tier": "free"}), tracing.span("auth.validate"):
        pass
    elsewhere = tracing.Root(root.trace_id, root.span_id, root.started_ns)
    tracing.finish_root(elsewhere, {"model": "MOCHI1"}, end_ns=root.started_ns + 5_000)
    written = recorded.span("video_generation_request")
    context = ids(written)
    assert f"{context.trace_id:032x}" == root.trace_id
    assert f"{context.span_id:016x}" == root.span_id
    assert written.parent is None
    assert (written.start_time, written.end_time) == (root.started_ns, root.started_ns + 5_000)
    gateway = recorded.span("gateway")
    assert gateway.parent is not None
    assert gateway.parent.span_id == context.span_id
    auth = recorded.span("auth.validate")
    assert auth.parent is not None
    assert auth.parent.span_id == ids(gateway).span_id


def test_a_callers_trace_is_kept(recorded: Recorded) -> None:
    root = tracing.new_root(f"00-{'ab' * 16}-{'cd' * 8}-01")
    assert root.trace_id == "ab" * 16
    tracing.finish_root(root)
    written = recorded.span("video_generation_request")
    assert written.parent is not None
    assert f"{written.parent.span_id:016x}" == "cd" * 8
    assert f"{ids(written).trace_id:032x}" == "ab" * 16


@given(st.text() | st.just(f"00-{'0' * 32}-{'cd' * 8}-01") | st.just(f"00-{'ab' * 16}-{'0' * 16}-01"))
def test_a_malformed_traceparent_is_ignored(header: str) -> None:
    root = tracing.new_root(header)
    assert len(root.trace_id) == 32
    assert root.parent_span_id == ""


def test_a_span_known_afterwards_keeps_its_times(recorded: Recorded) -> None:
    loop = tracing.open_span("denoising_loop", 1_000)
    tracing.record("step_1", 1_000, 3_000, {"step": 1, "step_duration_ms": 0.002}, parent=loop)
    loop.end(3_000)
    step = recorded.span("step_1")
    assert (step.start_time, step.end_time) == (1_000, 3_000)
    assert step.parent is not None
    assert step.parent.span_id == loop.get_span_context().span_id


def test_an_exception_is_the_spans_error_and_a_stop_is_none(recorded: Recorded) -> None:
    with pytest.raises(ZeroDivisionError), tracing.span("vae_decode"):
        _ = 1 / 0
    failed = recorded.span("vae_decode")
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.events[0].name == "exception"
    with pytest.raises(tracing.Stopped), tracing.span("transcode"):
        raise tracing.Stopped
    assert recorded.span("transcode").status.status_code is StatusCode.UNSET


def test_undeclared_spans_and_attributes_raise_under_test() -> None:
    with pytest.raises(Undeclared, match="no such span"), tracing.span("render.frames"):
        pass
    with pytest.raises(Undeclared, match="prompt"), tracing.span("gateway", {"prompt": "a red ball"}):
        pass
