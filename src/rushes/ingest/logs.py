"""Log records: OTLP's messages into the columns of `logs`.

The specification's fields (event, request_id, component, worker_id) become columns of their own; all other
attributes are the context.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from rushes.ingest.attributes import as_text, origin, plain, split, typed_json
from rushes.ingest.columns import Clockwork, Columns
from rushes.ingest.limits import Limits
from rushes.ingest.stats import Refusals

__all__ = ["log_columns"]

_OWN: Final = ("component", "worker_id", "event", "request_id")
_NAMES: Final = {"WARNING": "WARN", "CRITICAL": "FATAL", "NOTICE": "INFO"}
# OpenTelemetry's severity numbers come in groups of four.
_GROUPS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")


def log_columns(
    request: ExportLogsServiceRequest, clock: Clockwork, limits: Limits, refusals: Refusals
) -> tuple[Columns, set[str]]:
    """The request's acceptable records, and the ids of the traces they belong to."""
    columns = Columns("logs")
    traces: set[str] = set()
    for of_resource in request.resource_logs:
        service, resource, resource_json = origin(of_resource.resource, limits, refusals)
        for of_scope in of_resource.scope_logs:
            for record in of_scope.log_records:
                ts = record.time_unix_nano or record.observed_time_unix_nano or clock.now_ns
                complaint = clock.complaint(ts)
                if complaint is not None:
                    refusals.refuse(complaint)
                    continue
                trace_id = _hex(record.trace_id, 16)
                if trace_id:
                    traces.add(trace_id)
                context, typed = split(record.attributes, limits, refusals)
                component, worker_id, event, request_id = (_own(key, context, typed) for key in _OWN)
                columns.append(
                    (
                        ts,
                        trace_id,
                        _hex(record.span_id, 8),
                        _level(record),
                        min(max(record.severity_number, 0), 24),
                        service,
                        component,
                        worker_id,
                        event or record.event_name[: limits.value_length],
                        request_id,
                        as_text(plain(record.body, limits, refusals)),
                        context,
                        typed_json(typed),
                        resource,
                        resource_json,
                    )
                )
    return columns, traces


def _own(key: str, context: dict[str, str], typed: dict[str, Any]) -> str:
    return context.pop(key, "") or as_text(typed.pop(key, None))


def _hex(raw: bytes, size: int) -> str:
    """An id as hex; one of another size, or all zeros, says that there is none."""
    return raw.hex() if len(raw) == size and any(raw) else ""


def _level(record: LogRecord) -> str:
    text = record.severity_text.strip().upper()[:32]
    if text:
        return _NAMES.get(text, text)
    group = (record.severity_number - 1) // 4
    return _GROUPS[group] if record.severity_number > 0 and group < len(_GROUPS) else "INFO"
