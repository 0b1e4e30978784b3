"""OpenTelemetry's providers for a process: what is there already is used, what is missing is set up.

`configure` decides where telemetry goes: to a collector by OTLP, to `/metrics` for whoever scrapes, to log lines
on standard error. OpenTelemetry's own `OTEL_*` variables mean what they always mean.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from opentelemetry import _logs as otel_logs
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel_trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from rushes.catalog import Level
from rushes.sdk import instruments, logs, policy
from rushes.sdk.accounting import Account, AccountedLogs, AccountedMetricExporter, AccountedSpans
from rushes.sdk.exposition import render
from rushes.sdk.ids import ChosenIds
from rushes.sdk.log_format import Sink, set_sink

__all__ = ["Telemetry", "configure", "exposition", "flush", "shutdown"]

_QUEUE: Final = 8192  # spans or log records; about 16 MB of spans at the most
_TIMEOUT_S: Final = 5


@dataclass(slots=True)
class Telemetry:
    """The providers that `configure` made in this process; None where somebody else's was there already."""

    tracers: TracerProvider | None = None
    meters: MeterProvider | None = None
    loggers: LoggerProvider | None = None
    pull: InMemoryMetricReader | None = None
    accounts: list[Account] = field(default_factory=list)


_lock = threading.Lock()
_state: dict[str, Telemetry] = {}


def configure(
    *,
    service: str | None = None,
    instance: str | None = None,
    endpoint: str | None = None,
    resource: Mapping[str, str] | None = None,
    log_level: Level | str | None = Level.INFO,
    metrics_interval_s: float = 2.0,
    delay_ms: float = 500.0,
) -> Telemetry:
    """Sets up this process's telemetry, once; a second call returns what the first one made.

    Args:
        service: `service.name`; default OTEL_SERVICE_NAME, else "video-generation".
        instance: `service.instance.id`, and the `worker_id` of log lines.
        endpoint: base URL of an OTLP/HTTP collector; default OTEL_EXPORTER_OTLP_ENDPOINT. Without either nothing
            is pushed and the process has `/metrics` and log lines only.
        resource: more resource attributes.
        log_level: level from which lines go to standard error; None for none.
        metrics_interval_s: seconds between pushes of metrics.
        delay_ms: how long spans and log records wait for company before they are sent.
    """
    with _lock:
        if "telemetry" not in _state:
            _state["telemetry"] = _configure(
                service=service,
                instance=instance,
                endpoint=endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"),
                resource=resource or {},
                log_level=log_level,
                metrics_interval_s=metrics_interval_s,
                delay_ms=delay_ms,
            )
        return _state["telemetry"]


def _configure(
    *,
    service: str | None,
    instance: str | None,
    endpoint: str | None,
    resource: Mapping[str, str],
    log_level: Level | str | None,
    metrics_interval_s: float,
    delay_ms: float,
) -> Telemetry:
    name = service or os.environ.get("OTEL_SERVICE_NAME") or "video-generation"
    made = Resource.create(
        {
            "service.name": name,
            "service.version": version("rushes"),
            **({"service.instance.id": instance} if instance else {}),
            **resource,
        }
    )
    if instance:
        logs.set_worker(instance)
    if log_level is not None:
        set_sink(Sink(sys.stderr, service=name, level=Level(log_level)))
    # Its exporters complain at every try; a collector's coming and going is logged once, losses are counted.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    telemetry = Telemetry()
    base = endpoint.rstrip("/") if endpoint else None
    _set_meters(telemetry, made, base, metrics_interval_s)
    _set_tracers(telemetry, made, base, delay_ms)
    _set_loggers(telemetry, made, base, delay_ms)
    for account in telemetry.accounts:
        instruments.rushes_telemetry_dropped_total.observe(account.dropped)
        if account.limit:
            instruments.rushes_telemetry_queued.observe(account.queued)
    instruments.rushes_telemetry_rejected_total.observe(
        lambda: [(n, {"name": rejected}) for rejected, n in policy.rejected().items()]
    )
    return telemetry


def _account(telemetry: Telemetry, signal: str, limit: int) -> Account:
    account = Account(signal, limit)
    telemetry.accounts.append(account)
    return account


def _set_meters(telemetry: Telemetry, resource: Resource, base: str | None, interval_s: float) -> None:
    if isinstance(otel_metrics.get_meter_provider(), MeterProvider):
        return  # the user's own; it decides where metrics go
    telemetry.pull = InMemoryMetricReader()
    readers: list[MetricReader] = [telemetry.pull]
    if base:
        exporter = OTLPMetricExporter(f"{base}/v1/metrics", timeout=_TIMEOUT_S, compression=Compression.Gzip)
        readers.append(
            PeriodicExportingMetricReader(
                AccountedMetricExporter(exporter, _account(telemetry, "metrics", 0)),
                export_interval_millis=interval_s * 1000,
            )
        )
    telemetry.meters = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    otel_metrics.set_meter_provider(telemetry.meters)


def _set_tracers(telemetry: Telemetry, resource: Resource, base: str | None, delay_ms: float) -> None:
    if isinstance(otel_trace.get_tracer_provider(), TracerProvider):
        return
    telemetry.tracers = TracerProvider(resource=resource, id_generator=ChosenIds(), shutdown_on_exit=False)
    if base:
        exporter = OTLPSpanExporter(f"{base}/v1/traces", timeout=_TIMEOUT_S, compression=Compression.Gzip)
        account = _account(telemetry, "spans", _QUEUE)
        telemetry.tracers.add_span_processor(AccountedSpans(exporter, account, delay_ms=delay_ms))
    otel_trace.set_tracer_provider(telemetry.tracers)


def _set_loggers(telemetry: Telemetry, resource: Resource, base: str | None, delay_ms: float) -> None:
    if isinstance(otel_logs.get_logger_provider(), LoggerProvider):
        return
    telemetry.loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    if base:
        exporter = OTLPLogExporter(f"{base}/v1/logs", timeout=_TIMEOUT_S, compression=Compression.Gzip)
        account = _account(telemetry, "logs", _QUEUE)
        telemetry.loggers.add_log_record_processor(AccountedLogs(exporter, account, delay_ms=delay_ms))
    otel_logs.set_logger_provider(telemetry.loggers)


def flush(timeout_s: float = 5.0) -> bool:
    """Sends what is queued. False if that did not end within the time; nothing is raised."""
    return _within(timeout_s, [p.force_flush for p in _providers()])


def shutdown(timeout_s: float = 3.0) -> bool:
    """Sends what is queued and ends the exporters; the process can't send telemetry afterwards.

    A collector that is away holds the process up for `timeout_s` at the most; False says that it did.
    """
    return _within(timeout_s, [p.shutdown for p in _providers()])


def _providers() -> list[TracerProvider | LoggerProvider | MeterProvider]:
    telemetry = _state.get("telemetry")
    made = (telemetry.tracers, telemetry.loggers, telemetry.meters) if telemetry else ()
    return [provider for provider in made if provider is not None]


def _within(timeout_s: float, calls: Sequence[Callable[[], object]]) -> bool:
    """Makes the calls side by side, since each may wait for the network; True if all ended in time."""
    threads = [threading.Thread(target=call, name="rushes-flush", daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def exposition(accept: str = "") -> tuple[str, str]:
    """The process's `/metrics`: text and content type. Empty before `configure`, or beside a user's own provider."""
    telemetry = _state.get("telemetry")
    pull = telemetry.pull if telemetry else None
    return render(pull.get_metrics_data() if pull else None, accept)
