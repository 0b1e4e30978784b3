"""How a log line looks: JSON in the specification's format, or a readable line when a person is watching."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TextIO

from rushes.catalog import Level

__all__ = ["Line", "Sink", "json_line", "set_sink", "sink", "terminal_line"]

_ORDER: Final = (Level.DEBUG, Level.INFO, Level.WARN, Level.ERROR)
_COLOUR: Final = {Level.DEBUG: "2", Level.INFO: "36", Level.WARN: "33", Level.ERROR: "31"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One log line before it is rendered. `message` is the event in words, for readers and for OTLP's body."""

    time_ns: int
    level: Level
    component: str
    worker_id: str
    event: str
    request_id: str
    context: Mapping[str, str | bool | int | float]
    trace_id: str
    span_id: str
    message: str


def _utc(time_ns: int) -> datetime:
    # Whole milliseconds first: a float of nanoseconds since 1970 would round them.
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).replace(
        microsecond=time_ns // 1000 % 1_000_000
    )


def json_line(line: Line, service: str) -> str:
    """The specification's JSON, keys in its order."""
    return json.dumps(
        {
            "timestamp": _utc(line.time_ns).strftime("%Y-%m-%dT%H:%M:%S.")
            + f"{line.time_ns // 1_000_000 % 1000:03d}Z",
            "level": line.level.value,
            "service": service,
            "component": line.component,
            "worker_id": line.worker_id,
            "event": line.event,
            "request_id": line.request_id,
            "context": line.context,
            "trace_id": line.trace_id,
            "span_id": line.span_id,
        },
        default=str,
        ensure_ascii=False,
    )


def terminal_line(line: Line) -> str:
    """One line for a person: local time, level, where, what, and the context."""
    clock = _utc(line.time_ns).astimezone().strftime("%H:%M:%S")
    context = " ".join(f"{k}={v}" for k, v in line.context.items())
    who = line.worker_id or line.component
    request = f" {line.request_id[:14]}…" if line.request_id else ""
    return f"{clock} \x1b[{_COLOUR[line.level]}m{line.level.value:5}\x1b[0m {who:12} {line.message}{request} {context}"


class Sink:
    """Where lines go: a stream, as JSON or for a terminal, from a level upwards."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        service: str = "",
        level: Level = Level.INFO,
        terminal: bool | None = None,
    ) -> None:
        self._stream = stream
        self._service = service
        self._level = level
        self._terminal = terminal
        self._lock = threading.Lock()

    def shows(self, level: Level) -> bool:
        """Whether lines of this level are written."""
        return _ORDER.index(level) >= _ORDER.index(self._level)

    def write(self, line: Line) -> None:
        """Writes the line; a closed or full stream is no reason to fail the caller."""
        if self._stream is None or not self.shows(line.level):
            return
        try:
            terminal = self._stream.isatty() if self._terminal is None else self._terminal
            text = terminal_line(line) if terminal else json_line(line, self._service)
            with self._lock:
                self._stream.write(text + "\n")
                self._stream.flush()
        except (OSError, ValueError):
            return


_current = {"sink": Sink(None)}


def sink() -> Sink:
    """The process's sink. Until `rushes.configure` sets one, lines go to OTLP only."""
    return _current["sink"]


def set_sink(new: Sink | None = None) -> None:
    """Sets the process's sink; without an argument, JSON lines to standard error."""
    _current["sink"] = new if new is not None else Sink(sys.stderr)
