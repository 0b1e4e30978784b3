"""The catalog as `rushes catalog` prints it: a line a signal, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

from rushes.catalog.events import EVENTS
from rushes.catalog.metrics import METRICS
from rushes.catalog.model import LogEvent, Metric, Span, Status
from rushes.catalog.spans import SPANS

__all__ = ["as_json", "as_text"]

_LISTS: Final[Mapping[str, Mapping[str, Metric | Span | LogEvent]]] = {
    "metrics": METRICS,
    "spans": SPANS,
    "logs": EVENTS,
}


def as_json(signal: str) -> str:
    """All declarations of a signal. Raises KeyError for anything but metrics, spans and logs."""
    return json.dumps([asdict(d) for d in _LISTS[signal].values()], indent=2)


def as_text(signal: str) -> str:
    """A line a declaration. Raises KeyError likewise."""
    line: Callable[[Metric | Span | LogEvent], str] = _line
    return "\n".join(line(d) for d in _LISTS[signal].values())


def _line(declared: Metric | Span | LogEvent) -> str:
    match declared:
        case Metric():
            pending = "  [pending]" if declared.status is Status.PENDING else ""
            labels = f"{{{','.join(declared.label_names)}}}" if declared.labels else ""
            return f"{declared.kind.value:10}{declared.name}{labels}{pending}"
        case Span():
            pending = "  [pending]" if declared.status is Status.PENDING else ""
            return f"{declared.name:26}{declared.purpose}{pending}"
        case LogEvent():
            return f"{declared.level.value:6}{declared.name:34}{declared.message}"
