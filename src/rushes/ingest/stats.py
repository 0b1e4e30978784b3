"""What ingest took and what it refused, in plain numbers that the server exposes."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["IngestStats", "Reason", "Refusals"]


class Reason(NamedTuple):
    """Why something is refused: `code` is what is counted, `text` is what the client is told."""

    code: str
    text: str


@dataclass(slots=True)
class Refusals:
    """What one request lost, by reason; `cut` counts attribute values that were shortened or dropped."""

    reasons: Counter[Reason] = field(default_factory=Counter)
    cut: int = 0

    def refuse(self, reason: Reason, count: int = 1) -> None:
        if count:
            self.reasons[reason] += count

    @property
    def total(self) -> int:
        """Spans, records or points refused."""
        return self.reasons.total()

    def message(self, noun: str) -> str:
        """One sentence a reason, for a partial success."""
        return "; ".join(f"{count} {noun} refused: {reason.text}" for reason, count in self.reasons.items())


class IngestStats:
    """Counters since the start, safe to read and to write from any thread.

    Attributes:
        spans, logs, samples, histograms, exemplars: rows accepted, that is: durable.
        bytes: sizes of requests, inflated, by signal.
        refused: spans, records and points refused, by the reason's code.
        failed: requests refused whole, by reason (too_large, too_slow, undecodable, unsupported,
            not_received, store,
            overloaded).
        cut: attribute values shortened or dropped.
        series: series that are known now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.spans = 0
        self.logs = 0
        self.samples = 0
        self.histograms = 0
        self.exemplars = 0
        self.cut = 0
        self.series = 0
        self.bytes: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def accept(
        self, *, spans: int = 0, logs: int = 0, samples: int = 0, histograms: int = 0, exemplars: int = 0
    ) -> None:
        with self._lock:
            self.spans += spans
            self.logs += logs
            self.samples += samples
            self.histograms += histograms
            self.exemplars += exemplars

    def receive(self, signal: str, size: int) -> None:
        """Count the bytes of a request."""
        with self._lock:
            self.bytes[signal] += size

    def refuse(self, refusals: Refusals) -> None:
        with self._lock:
            for reason, count in refusals.reasons.items():
                self.refused[reason.code] += count
            self.cut += refusals.cut

    def fail(self, reason: str) -> None:
        with self._lock:
            self.failed[reason] += 1
