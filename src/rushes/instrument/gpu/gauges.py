"""Readings as metrics: observed at collection, so that a GPU that is no longer read has no series at once.

OpenTelemetry keeps a callback for ever, so there is one a metric and process; it asks the boards that are active.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rushes.catalog.labels import THROTTLE_REASONS
from rushes.instrument.gpu.samples import GpuSample
from rushes.instrument.gpu.source import GpuReading
from rushes.sdk import instruments
from rushes.sdk.instrument_types import Counter, Gauge

__all__ = ["Board"]

Labels = dict[str, str]
Values = Iterable[tuple[float, Labels]]


class Board:
    """What a collector last saw, for the metrics to read.

    Args:
        stale_after_s: a reading older than this is shown no more; the driver may hang.
        clock: seconds that only grow.
    """

    def __init__(self, stale_after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._samples: tuple[GpuSample, ...] = ()
        self._shown_at = 0.0
        self._stale_after_s = stale_after_s
        self._clock = clock
        self._xids: dict[int, tuple[int, int]] = {}

    def show(self, samples: tuple[GpuSample, ...]) -> None:
        """Replaces what is shown; XID errors add up."""
        for sample in samples:
            for number in sample.reading.xids or ():
                count, _ = self._xids.get(sample.reading.index, (0, 0))
                self._xids[sample.reading.index] = (count + 1, number)
        self._samples, self._shown_at = samples, self._clock()
        _activate(self)

    def clear(self) -> None:
        """Shows nothing any more."""
        self._samples = ()
        with _lock:
            _boards.discard(self)

    def each(self) -> Iterator[tuple[GpuReading, Labels]]:
        """Each GPU once for each of its workers, with its labels."""
        if self._clock() - self._shown_at > self._stale_after_s:
            return
        for sample in self._samples:
            gpu = sample.reading
            for worker_id in sample.worker_ids or ("",):
                yield gpu, {"worker_id": worker_id, "gpu_index": str(gpu.index), "gpu_type": gpu.name}

    def xids(self, index: int) -> tuple[int, int]:
        """How many XID errors a GPU had, and the last one's number (0 when it had none)."""
        return self._xids.get(index, (0, 0))


_lock: Final = threading.Lock()
_boards: Final[set[Board]] = set()
_observed: Final[set[str]] = set()


def _activate(board: Board) -> None:
    with _lock:
        _boards.add(board)
        for name, values in _VALUES.items():
            if name not in _observed:
                _observe(name, values)


def _observe(name: str, values: Callable[[Board], Values]) -> None:
    try:
        instrument = instruments.get(name)
    except KeyError:
        return  # this catalog does not declare it
    if isinstance(instrument, (Counter, Gauge)):
        _observed.add(name)
        instrument.observe(lambda: _all(values))


def _all(values: Callable[[Board], Values]) -> Values:
    with _lock:
        boards = list(_boards)
    return [pair for board in boards for pair in values(board)]


def _gauge(read: Callable[[GpuReading], float | None]) -> Callable[[Board], Values]:
    def values(board: Board) -> Values:
        return [(v, labels) for gpu, labels in board.each() if (v := read(gpu)) is not None]

    return values


def _throttled(board: Board) -> Values:
    return [
        (float(reason in gpu.throttle), {**labels, "reason": reason})
        for gpu, labels in board.each()
        if gpu.throttle is not None
        for reason in THROTTLE_REASONS
    ]


def _ecc(board: Board) -> Values:
    return [
        (float(count), {**labels, "kind": kind})
        for gpu, labels in board.each()
        for kind, count in (("corrected", gpu.ecc_corrected), ("uncorrected", gpu.ecc_uncorrected))
        if count is not None
    ]


def _xid_count(board: Board) -> Values:
    return [(float(board.xids(gpu.index)[0]), labels) for gpu, labels in board.each() if gpu.xids is not None]


def _xid_last(board: Board) -> Values:
    return [(float(last), labels) for gpu, labels in board.each() if (last := board.xids(gpu.index)[1])]


_VALUES: Final[dict[str, Callable[[Board], Values]]] = {
    "gpu_utilization_percent": _gauge(lambda g: g.utilization_percent),
    "gpu_memory_used_bytes": _gauge(lambda g: g.memory_used_bytes),
    "gpu_memory_utilization_percent": _gauge(lambda g: g.memory_percent),
    "gpu_temperature_celsius": _gauge(lambda g: g.temperature_celsius),
    "nvlink_bandwidth_gbps": _gauge(lambda g: g.nvlink_gbps),
    "rushes_gpu_power_draw_watts": _gauge(lambda g: g.power_watts),
    "rushes_gpu_throttled": _throttled,
    "rushes_gpu_ecc_errors_total": _ecc,
    "rushes_gpu_xid_errors_total": _xid_count,
    "rushes_gpu_xid_last": _xid_last,
}
