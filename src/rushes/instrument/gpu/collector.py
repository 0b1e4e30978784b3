"""The host's GPUs read at an interval, once a host, in a thread of its own; no program waits for it.

Several processes may each start a collector on the same lock: one reads, the others stand by and take over when
it dies.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rushes.catalog import EVENTS
from rushes.instrument.gpu.amd import AmdSource
from rushes.instrument.gpu.gauges import Board
from rushes.instrument.gpu.lock import HostLock
from rushes.instrument.gpu.nvml import NvmlSource
from rushes.instrument.gpu.samples import GpuSample, SampleRing
from rushes.instrument.gpu.source import GpuReading, Source, SourceUnavailable, Sweep
from rushes.instrument.gpu.workers import Workers, nobody
from rushes.sdk import logs

__all__ = ["Collector", "open_source"]

_log: Final = logs.get_logger("gpu")
_STALE_INTERVALS: Final = 5
_REOPEN_AFTER: Final = 60  # intervals between attempts once a driver that had answered is gone


def open_source() -> Source:
    """This host's GPUs, by NVIDIA's driver or AMD's. Raises `SourceUnavailable` where there are none."""
    reasons = []
    for make in (NvmlSource, AmdSource):
        try:
            return make()
        except SourceUnavailable as unavailable:
            reasons.append(str(unavailable))
    raise SourceUnavailable("; ".join(reasons))


class Collector:
    """Reads the GPUs of this host and shows them as metrics.

    Args:
        lock_path: a file that all collectors of the host name alike.
        workers: which workers a GPU belongs to; see `by_process`.
        source: opens what is read.
        interval_s: seconds from one reading to the next.
        capacity: readings kept for `between`; 20,000 are 40 minutes of eight GPUs at one a second.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        lock_path: Path,
        *,
        workers: Workers = nobody,
        source: Callable[[], Source] = open_source,
        interval_s: float = 1.0,
        capacity: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if interval_s <= 0:
            raise ValueError(f"interval_s is {interval_s}; give seconds above 0")
        self._lock = HostLock(lock_path)
        self._workers = workers
        self._open = source
        self._interval_s = interval_s
        self._board = Board(_STALE_INTERVALS * interval_s, clock)
        self._ring = SampleRing(capacity)
        self._source: Source | None = None
        self._worked = False
        self._pause = 0
        self._said: set[str] = set()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def reading(self) -> bool:
        """Whether this collector is the one that reads; False while it stands by or there is nothing to read."""
        return self._source is not None and self._lock.held

    def between(self, start_ns: int, end_ns: int) -> dict[str, list[GpuSample]]:
        """This process's readings from `start_ns` to `end_ns` (nanoseconds since the epoch), by worker.

        A GPU of nobody's is under "". A collector that stood by then has none: ask the store by the metrics'
        `worker_id`.
        """
        return self._ring.between(start_ns, end_ns)

    def start(self) -> None:
        """Starts the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rushes-gpu", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread, takes the series away and lets another collector take over."""
        self._stopping.set()
        if self._thread is not None:
            # A driver that hangs must not keep a process from ending.
            self._thread.join(timeout=max(5.0, 2 * self._interval_s))
        self._close()
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def tick(self) -> bool:
        """One round of the thread: False when there is nothing to read on this host, and never will be."""
        try:
            return self._tick()
        except Exception as error:  # noqa: BLE001 - telemetry never raises into the program, nor dies of a bad reading
            self._close()
            self._pause = _REOPEN_AFTER
            self._say("gpu.unavailable", f"the GPUs could not be read ({type(error).__name__})")
            return True

    def _run(self) -> None:
        while self.tick() and not self._stopping.wait(self._interval_s):
            pass

    def _tick(self) -> bool:
        if not self._lock.acquire():
            return True  # another process reads
        if self._pause:
            self._pause -= 1
            return True
        try:
            if self._source is None:
                self._source = self._open()
                self._worked = True
            sweep = self._source.read()
        except SourceUnavailable as unavailable:
            self._close()
            self._say("gpu.unavailable", f"no GPU is read on this host: {unavailable}")
            if not self._worked:
                self._lock.release()
                return False
            self._pause = _REOPEN_AFTER
            return True
        self._show(sweep)
        return True

    def _show(self, sweep: Sweep) -> None:
        owners = self._owners(sweep.gpus)
        samples = tuple(
            GpuSample(sweep.time_ns, gpu, tuple(workers))
            for gpu, workers in zip(sweep.gpus, owners, strict=True)
        )
        self._ring.extend(samples)
        self._board.show(samples)
        for gpu in sweep.gpus:
            for number in gpu.xids or ():
                text = f"GPU {gpu.index} ({gpu.name}) reports XID {number}"
                _write("gpu.xid", text, gpu_index=str(gpu.index), xid=number)

    def _owners(self, gpus: Sequence[GpuReading]) -> Sequence[Sequence[str]]:
        try:
            owners = self._workers(gpus)
        except Exception as error:  # noqa: BLE001 - the caller's function; the GPUs are read all the same
            self._say("gpu.unavailable", f"whose GPU is whose is not known ({type(error).__name__})")
            return nobody(gpus)
        return owners

    def _close(self) -> None:
        self._board.clear()
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _say(self, event: str, text: str) -> None:
        """Writes a line the first time."""
        if text not in self._said:
            self._said.add(text)
            _write(event, text)


def _write(event: str, text: str, **fields: str | int) -> None:
    declared = EVENTS.get(event)
    if declared is None:  # a catalog without this event
        _log.warning("log.message", error=text)
        return
    names = {field.name for field in declared.fields}
    known: dict[str, object] = {k: v for k, v in {**fields, "error": text}.items() if k in names}
    _log.warning(event, request_id="", **known)
