"""The receiver: bytes of a request in, durable rows and the reply out.

HTTP, gRPC and scraping are thin layers over it. Decoding and inserting happen in a small pool of threads, each with
its own session of the store, so that the event loop only moves bytes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import Message
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

from rushes.ingest.admission import Admission
from rushes.ingest.batch import Batch, Description
from rushes.ingest.classic import Classic
from rushes.ingest.columns import Clockwork
from rushes.ingest.complaints import Complaints
from rushes.ingest.deltas import Deltas
from rushes.ingest.limits import Limits, Overloaded
from rushes.ingest.logs import log_table
from rushes.ingest.metrics import MetricsRequest
from rushes.ingest.series import Series
from rushes.ingest.spans import span_table
from rushes.ingest.stats import IngestStats, Reason, Refusals
from rushes.store.interface import Store, StoreError

__all__ = ["OnIngest", "Parse", "Receiver", "Signal", "Written"]

Signal: TypeAlias = Literal["traces", "metrics", "logs"]
OnIngest: TypeAlias = Callable[[str, set[str]], None]
Parse: TypeAlias = Callable[[bytes, Message], None]
Take: TypeAlias = Callable[[Batch, Clockwork], None]
_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


class Written(NamedTuple):
    """What a batch of metrics brought: rows that are durable now, and what was refused."""

    samples: int
    histograms: int
    exemplars: int
    refusals: Refusals


class Receiver:
    """Takes export requests, remote writes and scrapes.

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
        self.admission = Admission(self.limits)
        self.clock_ns = clock_ns
        self._store = store
        self._on_ingest = on_ingest
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="rushes-ingest")
        self._lock = threading.Lock()
        self._series = Series(
            per_metric=self.limits.series_per_metric,
            in_all=self.limits.series,
            active_s=self.limits.series_active_s,
        )
        self._classic = Classic()
        self._series.on_sweep.append(self._classic.forget)
        self._deltas = Deltas(self.limits.series_active_s)
        self._complaints = Complaints(clock_ns)
        self._described: dict[str, tuple[Description, int]] = {}
        self._series.load(store, clock_ns() // 1_000_000_000)
        self.stats.series = len(self._series)

    async def receive(self, signal: Signal, body: bytes, parse: Parse | None = None) -> Message:
        """Store one export request; the reply names what was refused, if anything was.

        Args:
            signal: which kind of request.
            body: the request, inflated.
            parse: fills OTLP's message with the body; for protobuf it isn't needed.

        Raises:
            UndecodableBody: the body isn't such a request.
            BodyTooLarge: a few of its bytes stand for more than can be held.
            Overloaded: too many requests wait already, the client should repeat it later.
            StoreUnavailable: nothing was acknowledged, the client should repeat it later.
            StoreError: the store refused the rows; repeating won't help.
        """
        reply, traces = await self._run(signal, body, lambda: self._export(signal, body, parse))
        self._tell(signal, traces)
        return reply

    async def write(self, source: str, body: bytes, take: Take) -> Written:
        """Store a batch of metrics that `take` fills; raises what `receive` raises.

        Args:
            source: what kind of request it is, for the counters: remote_write or scrape.
            body: the request, inflated.
            take: fills the batch. Called in a thread, while no other batch is filled.
        """
        written = await self._run(source, body, lambda: self._metrics(source, take, adds=False))
        self._tell("metrics", set())
        return written

    def refuse(self, signal: str, reason: str) -> None:
        """Count, and say in the log, that a request was refused whole (too_large, undecodable, overloaded, …)."""
        self.stats.fail(reason)
        self._complaints.refused(signal, Reason(reason, _WHOLE[reason]))

    def problems(self) -> list[str]:
        """What goes on being refused, each in words for a page. Does not block."""
        return self._complaints.problems()

    def close(self) -> None:
        """Finish what is being stored and stop the threads. Blocks."""
        self._pool.shutdown(wait=True)

    async def _run(self, signal: str, body: bytes, work: Callable[[], _T]) -> _T:
        try:
            with self.admission.store():
                found = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except Overloaded:
            self.refuse(signal, "overloaded")
            raise
        except StoreError as error:
            self.stats.fail("store")
            self._complaints.store_failed(signal, error)
            raise
        self.stats.receive(signal, len(body))
        return found

    def _tell(self, signal: str, traces: set[str]) -> None:
        if self._on_ingest is not None:
            try:
                self._on_ingest(signal, traces)
            except Exception:  # a listener's defect must not refuse telemetry that is already stored
                _logger.exception("listener for ingested telemetry failed")

    def _export(self, signal: Signal, body: bytes, parse: Parse | None) -> tuple[Message, set[str]]:
        """Stores the request; its reply, and the ids of the traces that it touches."""
        kind = _KINDS[signal]
        if parse is not None:
            request = kind.request()
            parse(body, request)
            body = request.SerializeToString()
        reply, traces = kind.reply(), set[str]()
        if signal == "metrics":
            metrics = MetricsRequest(body)
            refusals = self._metrics(
                signal,
                lambda batch, clock: metrics.take(batch, clock, self._classic),
                adds=metrics.has_deltas,
            ).refusals
        else:
            refusals = Refusals()
            traces = self._rows(signal, body, refusals)
        if refusals.total:
            setattr(reply.partial_success, kind.rejected, refusals.total)
            reply.partial_success.error_message = refusals.message(kind.noun)
        return reply, traces

    def _rows(self, signal: Signal, body: bytes, refusals: Refusals) -> set[str]:
        if signal == "traces":
            table, traces = span_table(body, self._clock(), self.limits, refusals)
            self._store.insert("spans", table)
            self.stats.accept(spans=table.num_rows)
        else:
            table, traces = log_table(body, self._clock(), self.limits, refusals)
            self._store.insert("logs", table)
            self.stats.accept(logs=table.num_rows)
        self._count(signal, refusals)
        return traces

    def _metrics(self, source: str, take: Take, *, adds: bool) -> Written:
        clock, refusals = self._clock(), Refusals()
        now_s = clock.now_ns // 1_000_000_000
        with self._deltas.request(now_s, adds=adds) as sums:
            with self._lock:
                batch = Batch(self._series, self.limits, refusals, now_s, sums)
                take(batch, clock)
                due = self._due(batch)
                tables = list(batch.tables(due))
            for name, table in tables:
                self._store.insert(name, table)
        with self._lock:
            self._series.wrote(batch.told, now_s)
            self._described.update({metric: (of, now_s) for metric, of in due.items()})
            self.stats.series = len(self._series)
        samples, histograms, exemplars = batch.counts
        self.stats.accept(samples=samples, histograms=histograms, exemplars=exemplars)
        self._count(source, refusals)
        return Written(samples, histograms, exemplars, refusals)

    def _count(self, signal: str, refusals: Refusals) -> None:
        self.stats.refuse(refusals)
        for reason, count in refusals.reasons.items():
            self._complaints.refused(signal, reason, count)

    def _clock(self) -> Clockwork:
        return Clockwork(self.clock_ns(), self._store.retention_s, self.limits.future_s)

    def _due(self, batch: Batch) -> dict[str, Description]:
        """The descriptions that the store doesn't have, or has had for long."""
        if len(self._described) > self.limits.series:
            self._described.clear()
        oldest = batch.now_s - self.limits.series_active_s
        known = self._described
        return {
            metric: of
            for metric, of in batch.descriptions.items()
            if metric not in known or known[metric][0] != of or known[metric][1] < oldest
        }


_WHOLE: Final = {
    "too_large": "the request is larger than allowed",
    "too_slow": "the client takes too long to send it",
    "not_received": "the message is larger than allowed, or the client gave up sending it",
    "undecodable": "the body isn't what its headers say",
    "unsupported": "its content type or encoding isn't one that is taken",
    "overloaded": "too much is at hand already",
}
"""Why a request may be refused whole, by what is counted."""


class _Kind(NamedTuple):
    """What differs between the signals: messages, and how the reply names what was refused."""

    request: Callable[[], Message]
    reply: Callable[[], Any]
    rejected: str
    noun: str


_KINDS: Final[dict[Signal, _Kind]] = {
    "traces": _Kind(ExportTraceServiceRequest, ExportTraceServiceResponse, "rejected_spans", "spans"),
    "logs": _Kind(ExportLogsServiceRequest, ExportLogsServiceResponse, "rejected_log_records", "log records"),
    "metrics": _Kind(
        ExportMetricsServiceRequest, ExportMetricsServiceResponse, "rejected_data_points", "data points"
    ),
}
