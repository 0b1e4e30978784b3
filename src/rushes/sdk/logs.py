"""Log lines in the specification's format, correlated with the trace, written here and sent by OTLP.

`get_logger("gateway").info("generation.job.accepted", request_id=…, model=…)`: the event and its fields are
declared in the catalog; an undeclared field is an error in tests and is left out in production.
"""

from __future__ import annotations

import logging
import time
import traceback
from typing import Final

from opentelemetry import _logs as otel_logs
from opentelemetry import trace as otel
from opentelemetry._logs import SeverityNumber

from rushes.catalog import EVENTS, Level
from rushes.sdk.log_format import Line, sink
from rushes.sdk.policy import reject
from rushes.sdk.redaction import redact, redacted_text

__all__ = ["Logger", "bridge_stdlib", "get_logger", "set_worker"]

FieldValue = str | bool | int | float | None | object

_SEVERITY: Final = {
    Level.DEBUG: SeverityNumber.DEBUG,
    Level.INFO: SeverityNumber.INFO,
    Level.WARN: SeverityNumber.WARN,
    Level.ERROR: SeverityNumber.ERROR,
}
_identity = {"worker_id": ""}


def set_worker(worker_id: str) -> None:
    """Sets the `worker_id` that this process's log lines carry."""
    _identity["worker_id"] = worker_id


class Logger:
    """A component's logger. Never raises outside strict mode."""

    def __init__(self, component: str) -> None:
        self.component: Final = component

    def debug(self, event: str, *, request_id: str = "", **fields: FieldValue) -> None:
        """Detailed execution, in development."""
        self._write(Level.DEBUG, event, request_id, fields)

    def info(self, event: str, *, request_id: str = "", **fields: FieldValue) -> None:
        """A job's lifecycle."""
        self._write(Level.INFO, event, request_id, fields)

    def warning(self, event: str, *, request_id: str = "", **fields: FieldValue) -> None:
        """Degraded performance, a retry, a refusal."""
        self._write(Level.WARN, event, request_id, fields)

    def error(
        self, event: str, *, request_id: str = "", exc: BaseException | None = None, **fields: FieldValue
    ) -> None:
        """A failure. `exc` is written as the field `error`, redacted, unless that field is given."""
        if exc is not None:
            fields.setdefault("error", f"{type(exc).__name__}: {exc}")
        self._write(Level.ERROR, event, request_id, fields)

    def _write(self, level: Level, event: str, request_id: str, fields: dict[str, FieldValue]) -> None:
        declared = EVENTS.get(event)
        if declared is None:
            reject(event, "no such log event")
            return
        names = {field.name for field in declared.fields}
        for name in sorted(fields.keys() - names):
            reject(event, f"log field {name} is not declared")
            del fields[name]
        context = {k: _plain(v) for k, v in fields.items() if v is not None}
        span = otel.get_current_span().get_span_context()
        line = Line(
            time_ns=time.time_ns(),
            level=level,
            component=self.component,
            worker_id=_identity["worker_id"],
            event=event,
            request_id=request_id,
            context=context,
            trace_id=f"{span.trace_id:032x}" if span.is_valid else "",
            span_id=f"{span.span_id:016x}" if span.is_valid else "",
            message=declared.message,
        )
        sink().write(line)
        if level is not Level.DEBUG or sink().shows(Level.DEBUG):
            _send(line)


def _plain(value: object) -> str | bool | int | float:
    """A field as it may be told: numbers as they are, anything else as its redacted text."""
    if isinstance(value, (bool, int, float)):
        return value
    return redacted_text(value if isinstance(value, str) else str(redact(value)))


def _send(line: Line) -> None:
    attributes: dict[str, str | bool | int | float] = {
        **line.context,
        "event": line.event,
        "component": line.component,
    }
    if line.request_id:
        attributes["request_id"] = line.request_id
    if line.worker_id:
        attributes["worker_id"] = line.worker_id
    otel_logs.get_logger("rushes").emit(
        timestamp=line.time_ns,
        severity_number=_SEVERITY[line.level],
        severity_text=line.level.value,
        body=line.message,
        attributes=attributes,
        event_name=line.event,
    )


def get_logger(component: str) -> Logger:
    """The logger of a component: gateway, dit-worker, control-room."""
    return Logger(component)


class _Bridge(logging.Handler):
    """Lines of libraries become `log.message` lines, redacted like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("opentelemetry"):
            return  # an exporter's complaint about exporting must not be exported; drops are counted instead
        level = Level.ERROR if record.levelno >= logging.ERROR else Level.WARN
        # Logger._write alone takes a level; the bridge is part of the same module's machinery.
        Logger(record.name)._write(  # noqa: SLF001
            level, "log.message", "", {"error": record.getMessage() + _cause(record)}
        )


def _cause(record: logging.LogRecord) -> str:
    """The exception behind a line: its type, its text, and where it was raised."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    error = record.exc_info[1]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f": {type(error).__name__}: {error}{where}"


def bridge_stdlib(level: int = logging.WARNING) -> None:
    """Sends what libraries log at `level` or above through our format, in processes that are Rushes' own."""
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(level)
