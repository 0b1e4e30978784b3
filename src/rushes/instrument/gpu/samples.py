"""What a job's GPUs did while it ran: the last readings, kept in memory, by worker and time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from rushes.instrument.gpu.source import GpuReading

__all__ = ["GpuSample", "SampleRing"]


@dataclass(frozen=True, slots=True)
class GpuSample:
    """A GPU's reading at a time (nanoseconds since the epoch), with the workers that the GPU belonged to."""

    time_ns: int
    reading: GpuReading
    worker_ids: tuple[str, ...]


class SampleRing:
    """The newest samples, bounded in number; safe to read while it is written."""

    def __init__(self, capacity: int) -> None:
        self._samples: deque[GpuSample] = deque(maxlen=capacity)
        self._lock = threading.Lock()

    def extend(self, samples: Iterable[GpuSample]) -> None:
        """Adds samples, in the order of time; the oldest give way."""
        with self._lock:
            self._samples.extend(samples)

    def between(self, start_ns: int, end_ns: int) -> dict[str, list[GpuSample]]:
        """The samples from `start_ns` to `end_ns`, both included, by worker; a GPU of nobody's is under ""."""
        with self._lock:
            inside = [s for s in self._samples if start_ns <= s.time_ns <= end_ns]
        found: dict[str, list[GpuSample]] = {}
        for sample in inside:
            for worker_id in sample.worker_ids or ("",):
                found.setdefault(worker_id, []).append(sample)
        return found
