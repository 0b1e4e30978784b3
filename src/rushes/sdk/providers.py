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
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import _logs as otel_logs
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel_trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
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
from rushes.sdk.finished import Tracers
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
        service: `service.name`; default what OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say, else
            "video-generation".
        instance: `service.instance.id`, and the `worker_id` of log lines.
        endpoint: base URL of an OTLP/HTTP collector; default what the OTEL_EXPORTER_OTLP_* variables say. Without
            either nothing is pushed and the process has `/metrics` and log lines only.
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
                endpoint=endpoint,
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
    named = _given("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    made = Resource.create(
        {
            "service.version": version("rushes"),
            **({"service.name": service or "video-generation"} if service or not named else {}),
            **({"service.instance.id": instance} if instance else {}),
            **resource,
        }
    )
    if instance:
        logs.set_worker(instance)
    if log_level is not None:
        set_sink(Sink(sys.stderr, service=str(made.attributes["service.name"]), level=Level(log_level)))
    telemetry = Telemetry()
    _set_meters(telemetry, made, _exporter_options("metrics", endpoint), metrics_interval_s)
    _set_tracers(telemetry, made, _exporter_options("traces", endpoint), delay_ms)
    _set_loggers(telemetry, made, _exporter_options("logs", endpoint), delay_ms)
    if telemetry.accounts:
        # Its exporters complain at every try; a collector's coming and going is logged once, losses are counted.
        # Exporters that the user has set are left to complain.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    for account in telemetry.accounts:
        instruments.rushes_telemetry_dropped_total.observe(account.dropped)
        if account.limit:
            instruments.rushes_telemetry_queued.observe(account.queued)
    instruments.rushes_telemetry_rejected_total.observe(
        lambda: [(n, {"name": rejected}) for rejected, n in policy.rejected().items()]
    )
    return telemetry


def _given(*names: str) -> bool:
    return any(os.environ.get(name) for name in names)


def _exporter_options(signal: str, endpoint: str | None) -> dict[str, Any] | None:
    """What a signal's exporter is told; None when nothing says where to export to.

    What OpenTelemetry's variables say is left to the exporter, which reads them; an `endpoint` of the caller's
    own outranks them.
    """
    upper = signal.upper()
    if endpoint is None and not _given("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT"):
        return None
    if endpoint is None and os.environ.get(f"OTEL_{upper}_EXPORTER", "").strip().lower() == "none":
        return None  # a backend that takes spans only, say
    options: dict[str, Any] = {}
    if endpoint is not None:
        options["endpoint"] = f"{endpoint.rstrip('/')}/v1/{signal}"
    if not _given("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{upper}_TIMEOUT"):
        options["timeout"] = _TIMEOUT_S
    if not _given("OTEL_EXPORTER_OTLP_COMPRESSION", f"OTEL_EXPORTER_OTLP_{upper}_COMPRESSION"):
        options["compression"] = Compression.Gzip
    return options


def _account(telemetry: Telemetry, signal: str, limit: int, exporter: Any) -> Account:
    url = urlsplit(str(exporter._endpoint))  # noqa: SLF001 - it settles what the variables say, and tells nobody
    address = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    account = Account(signal, limit, address=address)
    telemetry.accounts.append(account)
    return account


def _number(name: str, otherwise: float) -> float:
    """A number from an OTEL_* variable, or the default where it is absent or no number."""
    try:
        return float(os.environ[name])
    except (KeyError, ValueError):
        return otherwise


def _set_meters(
    telemetry: Telemetry, resource: Resource, options: dict[str, Any] | None, interval_s: float
) -> None:
    if isinstance(otel_metrics.get_meter_provider(), MeterProvider):
        return  # the user's own; it decides where metrics go
    telemetry.pull = InMemoryMetricReader()
    readers: list[MetricReader] = [telemetry.pull]
    if options is not None:
        exporter = AccountedMetricExporter(**options)
        exporter.account = _account(telemetry, "metrics", 0, exporter)
        interval = _number("OTEL_METRIC_EXPORT_INTERVAL", interval_s * 1000)
        readers.append(PeriodicExportingMetricReader(exporter, export_interval_millis=interval))
    telemetry.meters = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    otel_metrics.set_meter_provider(telemetry.meters)


def _set_tracers(
    telemetry: Telemetry, resource: Resource, options: dict[str, Any] | None, delay_ms: float
) -> None:
    if isinstance(otel_trace.get_tracer_provider(), TracerProvider):
        return
    telemetry.tracers = Tracers(resource, ChosenIds())
    if options is not None:
        exporter = OTLPSpanExporter(**options)
        account = _account(telemetry, "spans", int(_number("OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE)), exporter)
        delay = _number("OTEL_BSP_SCHEDULE_DELAY", delay_ms)
        telemetry.tracers.add_span_processor(AccountedSpans(exporter, account, delay_ms=delay))
    otel_trace.set_tracer_provider(telemetry.tracers)


def _set_loggers(
    telemetry: Telemetry, resource: Resource, options: dict[str, Any] | None, delay_ms: float
) -> None:
    if isinstance(otel_logs.get_logger_provider(), LoggerProvider):
        return
    telemetry.loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    if options is not None:
        exporter = OTLPLogExporter(**options)
        account = _account(telemetry, "logs", int(_number("OTEL_BLRP_MAX_QUEUE_SIZE", _QUEUE)), exporter)
        delay = _number("OTEL_BLRP_SCHEDULE_DELAY", delay_ms)
        telemetry.loggers.add_log_record_processor(AccountedLogs(exporter, account, delay_ms=delay))
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
