"""The receiver: bytes of an export request in, durable rows and the bytes of the reply out.

HTTP and gRPC are thin layers over it. Decoding and inserting happen in a small pool of threads, each with
its own session of the store, so that the event loop only moves bytes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from rushes.ingest.columns import Clockwork, Columns
from rushes.ingest.complaints import Complaints
from rushes.ingest.labels import KnownSeries
from rushes.ingest.limits import Limits, UndecodableBody
from rushes.ingest.logs import log_columns
from rushes.ingest.metrics import MetricBatch, metric_batch
from rushes.ingest.spans import span_columns
from rushes.ingest.stats import IngestStats, Refusals
from rushes.store.interface import Store, StoreError, StoreUnavailable

__all__ = ["OnIngest", "Receiver", "Signal"]

Signal: TypeAlias = Literal["traces", "metrics", "logs"]
OnIngest: TypeAlias = Callable[[str, set[str]], None]
Parse: TypeAlias = Callable[[bytes, Message], None]

_logger = logging.getLogger(__name__)


class Receiver:
    """Takes export requests.

    Args:
        store: where rows go.
        limits: what is accepted.
        on_ingest: called with the signal and the ids of its traces after each accepted batch, on the
            event loop that served the request.
        clock_ns: nanoseconds since the epoch, now.
        workers: threads that decode and insert.
    """

    def __init__(
        self,
        store: Store,
        *,
        limits: Limits | None = None,
        on_ingest: OnIngest | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        workers: int = 2,
    ) -> None:
        self.limits = limits or Limits()
        self.stats = IngestStats()
        self._store = store
        self._on_ingest = on_ingest
        self._clock_ns = clock_ns
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="rushes-ingest")
        self._pending = 0
        self._lock = threading.Lock()
        self._known = KnownSeries(
            per_metric=self.limits.series_per_metric, active_s=self.limits.series_active_s
        )
        self._complaints = Complaints(clock_ns)
        self._described: dict[str, tuple[tuple[str, str, str], int]] = {}
        self._known.load(store, clock_ns() // 1_000_000_000)

    async def receive(self, signal: Signal, body: bytes, parse: Parse | None = None) -> Message:
        """Store one export request; the reply names what was refused, if anything was.

        Args:
            signal: which kind of request.
            body: the request, inflated.
            parse: fills the message with the body; protobuf if not given.

        Raises:
            UndecodableBody: the body isn't such a request.
            StoreUnavailable: nothing was acknowledged, the client should repeat it later.
            StoreError: the store refused the rows; repeating won't help.
        """
        if self._pending >= self.limits.pending:
            self.refuse(signal, "overloaded")
            raise StoreUnavailable(f"{self._pending} requests are waiting for the store already")
        self._pending += 1
        try:
            reply, traces = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._process, signal, body, parse or _protobuf
            )
        except StoreError as error:
            self.stats.fail("store")
            self._complaints.store_failed(signal, error)
            raise
        finally:
            self._pending -= 1
        if self._on_ingest is not None:
            try:
                self._on_ingest(signal, traces)
            except Exception:  # a listener's defect must not refuse telemetry that is already stored
                _logger.exception("listener for ingested telemetry failed")
        return reply

    def refuse(self, signal: Signal, reason: str) -> None:
        """Count, and say in the log, that a request was refused whole (too_large, undecodable, overloaded)."""
        self.stats.fail(reason)
        self._complaints.refused(signal, reason)

    def close(self) -> None:
        """Finish what is being stored and stop the threads. Blocks."""
        self._pool.shutdown(wait=True)

    def _process(self, signal: Signal, body: bytes, parse: Parse) -> tuple[Message, set[str]]:
        """Stores the request; its reply, and the ids of the traces that it touches."""
        kind = _KINDS[signal]
        request, reply, refusals = kind.request(), kind.reply(), Refusals()
        parse(body, request)
        clock = Clockwork(self._clock_ns(), self._store.retention_s, self.limits.future_s)
        traces = kind.take(self, request, clock, refusals)
        self.stats.refuse(refusals)
        for reason in refusals.reasons:
            self._complaints.refused(signal, reason.code)
        if refusals.total:
            setattr(reply.partial_success, kind.rejected, refusals.total)
            reply.partial_success.error_message = refusals.message(kind.noun)
        return reply, traces

    def _traces(self, request: Any, clock: Clockwork, refusals: Refusals) -> set[str]:
        columns, traces = span_columns(request, clock, self.limits, refusals)
        self._insert(columns)
        self.stats.accept(spans=len(columns))
        return traces

    def _logs(self, request: Any, clock: Clockwork, refusals: Refusals) -> set[str]:
        columns, traces = log_columns(request, clock, self.limits, refusals)
        self._insert(columns)
        self.stats.accept(logs=len(columns))
        return traces

    def _metrics(self, request: Any, clock: Clockwork, refusals: Refusals) -> set[str]:
        now_s = clock.now_ns // 1_000_000_000
        with self._lock:
            batch = metric_batch(request, clock, self.limits, refusals, self._known)
            described = self._new_descriptions(batch, now_s)
        # A sample whose series isn't stored could not be found: series go first.
        for columns in (batch.series, batch.metrics, batch.samples, batch.exemplars):
            self._insert(columns)
        with self._lock:
            for metric, identities in batch.new_series.items():
                for identity in identities:
                    self._known.wrote(metric, identity, now_s)
            self._described.update(described)
        self.stats.accept(samples=len(batch.samples))
        return set()

    def _new_descriptions(
        self, batch: MetricBatch, now_s: int
    ) -> dict[str, tuple[tuple[str, str, str], int]]:
        due: dict[str, tuple[tuple[str, str, str], int]] = {}
        for metric, description in batch.descriptions.items():
            written, at = self._described.get(metric, (None, 0))
            if written != description or at < now_s - self.limits.series_active_s:
                due[metric] = (description, now_s)
                batch.metrics.append((metric, *description, now_s))
        return due

    def _insert(self, columns: Columns) -> None:
        if len(columns):
            self._store.insert(columns.table, columns.arrow())


class _Kind(NamedTuple):
    """What differs between the signals: messages, how the reply names what was refused, and who takes it."""

    request: Callable[[], Message]
    reply: Callable[[], Any]
    rejected: str
    noun: str
    take: Callable[[Receiver, Any, Clockwork, Refusals], set[str]]


# The methods are this module's own: a table of them beats three of one shape.
_KINDS: Final[dict[Signal, _Kind]] = {
    "traces": _Kind(
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
        "rejected_spans",
        "spans",
        Receiver._traces,  # noqa: SLF001
    ),
    "logs": _Kind(
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
        "rejected_log_records",
        "log records",
        Receiver._logs,  # noqa: SLF001
    ),
    "metrics": _Kind(
        ExportMetricsServiceRequest,
        ExportMetricsServiceResponse,
        "rejected_data_points",
        "data points",
        Receiver._metrics,  # noqa: SLF001
    ),
}


def _protobuf(body: bytes, message: Message) -> None:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise UndecodableBody(f"the body is not an OTLP export request in protobuf: {error}") from error
