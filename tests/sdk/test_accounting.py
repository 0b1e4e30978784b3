"""A process whose collector is away: bounded memory, every loss counted, nothing raised."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from rushes.catalog import Prompt
from rushes.sdk.accounting import Account, AccountedSpans
from rushes.sdk.redaction import shield


class _Collector(SpanExporter):
    """Takes spans when it may, and fails when it is told to."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.taken: list[ReadableSpan] = []
        self.works = True
        self.raises = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.open.wait()
        if self.raises:
            raise ConnectionError("no route")
        if not self.works:
            return SpanExportResult.FAILURE
        self.taken.extend(spans)
        return SpanExportResult.SUCCESS


def _counts(account: Account) -> dict[str, float]:
    return {labels["reason"]: value for value, labels in account.dropped()}


def test_a_full_queue_drops_and_counts() -> None:
    collector, account = _Collector(), Account("spans", 10)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(AccountedSpans(collector, account, delay_ms=3_600_000))
    tracer = provider.get_tracer("test")
    for _ in range(25):
        tracer.start_span("s").end()
    ((queued, _),) = account.queued()
    dropped = _counts(account)["queue_full"]
    collector.open.set()
    provider.force_flush()
    provider.shutdown()
    # Up to one batch may have gone to the exporter, which holds it while the collector is away.
    assert queued <= 10
    assert len(collector.taken) + dropped == 25
    assert dropped >= 5


@pytest.mark.parametrize("how", ["works", "raises"])
def test_what_could_not_be_delivered_is_counted(how: str) -> None:
    collector, account = _Collector(), Account("spans", 100)
    setattr(collector, how, how == "raises")
    collector.open.set()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(AccountedSpans(collector, account, delay_ms=3_600_000))
    for _ in range(7):
        provider.get_tracer("test").start_span("s").end()
    provider.force_flush()
    provider.shutdown()
    assert _counts(account) == {"queue_full": 0, "export_failed": 7}


def test_spans_are_redacted_on_their_way_out() -> None:
    collector, account = _Collector(), Account("spans", 100)
    collector.open.set()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(AccountedSpans(collector, account, delay_ms=3_600_000))
    tracer = provider.get_tracer("test")
    with shield(Prompt("a canary sings")):
        try:
            with tracer.start_as_current_span("s", attributes={"note": "a canary sings", "n": 1}):
                raise ValueError("no token for 'a canary sings'")  # noqa: TRY301 - what a library does
        except ValueError:
            pass
    provider.force_flush()
    provider.shutdown()
    (span,) = collector.taken
    assert "canary" not in span.to_json()
    assert span.attributes is not None
    assert span.attributes["n"] == 1
    assert span.context is not None
