"""How much is at hand: bytes of requests in memory, and requests that wait for the store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rushes.ingest.limits import Limits, Overloaded

__all__ = ["Admission", "Held"]


@dataclass
class Held:
    """The bytes that one request holds."""

    admission: Admission
    size: int = 0

    def __call__(self, size: int) -> None:
        """Hold more bytes. Raises Overloaded."""
        self.admission.hold(size)
        self.size += size


class Admission:
    """Counts what is at hand. Safe for threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self.bytes = 0
        self.pending = 0

    @contextmanager
    def body(self) -> Iterator[Held]:
        """While a request's body is read and stored."""
        held = Held(self)
        try:
            yield held
        finally:
            with self._lock:
                self.bytes -= held.size

    @contextmanager
    def store(self) -> Iterator[None]:
        """While a request waits for the store. Raises Overloaded."""
        with self._lock:
            if self.pending >= self._limits.pending:
                raise Overloaded(f"{self.pending} requests are waiting for the store already")
            self.pending += 1
        try:
            yield
        finally:
            with self._lock:
                self.pending -= 1

    def hold(self, size: int) -> None:
        """Note that a request has grown. Raises Overloaded."""
        with self._lock:
            if self.bytes + size > self._limits.held_bytes:
                raise Overloaded(f"requests of {self.bytes} bytes are in memory already")
            self.bytes += size
