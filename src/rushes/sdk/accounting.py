"""Bounded queues between a program and its collector, with every loss counted.

OpenTelemetry's batch processors drop the oldest silently when their queue is full. Here a span or log record that
finds the queue full is dropped itself and counted, and so is what an exporter could not deliver: memory stays
bounded while a collector is away, and `rushes_telemetry_dropped_total` says what is missing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from rushes.sdk import logs
from rushes.sdk.redaction import redact, redacted_mapping, redacted_text

__all__ = ["Account", "AccountedLogs", "AccountedMetricExporter", "AccountedSpans"]

_NUMBERS: Final = frozenset((bool, int, float))
_LOG: Final = logs.get_logger("telemetry")


class Account:
    """What one signal has queued and lost in this process."""

    def __init__(self, signal: str, limit: int, *, address: str = "") -> None:
        """`limit`: how many items may be queued; `address`: the collector's, without credentials, for the log."""
        self.signal: Final = signal
        self.limit: Final = limit
        self._address: Final = address
        self._lock = threading.Lock()
        self._queued = 0
        self._dropped = {"queue_full": 0, "export_failed": 0}
        self._away = False

    def enter(self) -> bool:
        """Takes a place in the queue; False, and one counted, when there is none."""
        with self._lock:
            if self._queued >= self.limit:
                self._dropped["queue_full"] += 1
                return False
            self._queued += 1
            return True

    def leave(self, count: int) -> None:
        """`count` items went from the queue to the exporter."""
        with self._lock:
            self._queued -= count

    def settle(self, count: int, *, delivered: bool) -> None:
        """`count` items were delivered or could not be. A change from one to the other is logged, once."""
        with self._lock:
            if not delivered:
                self._dropped["export_failed"] += count
            changed = self._away is delivered
            self._away = not delivered
        if not changed:
            return
        if delivered:
            _LOG.info("telemetry.delivered", signal=self.signal, address=self._address)
        else:
            _LOG.warning("telemetry.undelivered", signal=self.signal, address=self._address)

    def dropped(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """Observations for `rushes_telemetry_dropped_total`."""
        with self._lock:
            return [(n, {"signal": self.signal, "reason": reason}) for reason, n in self._dropped.items()]

    def queued(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """Observations for `rushes_telemetry_queued`."""
        with self._lock:
            return [(self._queued, {"signal": self.signal})]


def _redacted_values(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """As redacted_mapping; numbers, most of what spans carry, are passed over, and sequences stay tuples."""
    return {
        key: value
        if type(value) in _NUMBERS
        else tuple(redact(value))
        if isinstance(value, tuple)
        else redact(value)
        for key, value in (attributes or {}).items()
    }


def _redacted(span: ReadableSpan) -> ReadableSpan:
    """The span with its texts redacted; the same object when nothing had to be."""
    attributes = _redacted_values(span.attributes)
    events = [Event(e.name, _redacted_values(e.attributes), e.timestamp) for e in span.events]
    description = redacted_text(span.status.description) if span.status.description else None
    if (
        attributes == span.attributes
        and all(a.attributes == b.attributes for a, b in zip(events, span.events, strict=True))
        and description == span.status.description
    ):
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=events,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, description),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class _AccountedSpanExporter(SpanExporter):
    def __init__(self, exporter: SpanExporter, account: Account) -> None:
        self._exporter = exporter
        self._account = account

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._account.leave(len(spans))
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - whatever it was, these are lost
            result = SpanExportResult.FAILURE
        self._account.settle(len(spans), delivered=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class AccountedSpans(SpanProcessor):
    """Redacts ended spans and hands them to a batch processor through an accounted queue."""

    def __init__(self, exporter: SpanExporter, account: Account, *, delay_ms: float) -> None:
        self._account = account
        self._batch = BatchSpanProcessor(
            _AccountedSpanExporter(exporter, account),
            max_queue_size=account.limit + 1,
            schedule_delay_millis=delay_ms,
            max_export_batch_size=min(512, account.limit),
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing happens at a span's start."""

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled and self._account.enter():
            self._batch.on_end(_redacted(span))

    def shutdown(self) -> None:
        self._batch.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batch.force_flush(timeout_millis)


class _AccountedLogExporter(LogRecordExporter):
    def __init__(self, exporter: LogRecordExporter, account: Account) -> None:
        self._exporter = exporter
        self._account = account

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self._account.leave(len(batch))
        try:
            result = self._exporter.export(batch)
        except Exception:  # noqa: BLE001 - likewise
            result = LogRecordExportResult.FAILURE
        self._account.settle(len(batch), delivered=result is LogRecordExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        self._exporter.shutdown()


class AccountedLogs(LogRecordProcessor):
    """Redacts log records and hands them to a batch processor through an accounted queue."""

    def __init__(self, exporter: LogRecordExporter, account: Account, *, delay_ms: float) -> None:
        self._account = account
        self._batch = BatchLogRecordProcessor(
            _AccountedLogExporter(exporter, account),
            max_queue_size=account.limit + 1,
            schedule_delay_millis=delay_ms,
            max_export_batch_size=min(512, account.limit),
        )

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if not self._account.enter():
            return
        record = log_record.log_record
        record.attributes = redacted_mapping(record.attributes or {})
        if isinstance(record.body, str):
            record.body = redacted_text(record.body)
        self._batch.on_emit(log_record)

    def shutdown(self) -> None:
        self._batch.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batch.force_flush(timeout_millis)


class AccountedMetricExporter(OTLPMetricExporter):
    """Counts pushes that failed. Sums are cumulative, so the next push that succeeds makes up for them."""

    account: Account

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: object
    ) -> MetricExportResult:
        try:
            result = super().export(metrics_data, timeout_millis, **kwargs)
        except Exception:  # noqa: BLE001 - likewise
            result = MetricExportResult.FAILURE
        self.account.settle(1, delivered=result is MetricExportResult.SUCCESS)
        return result
