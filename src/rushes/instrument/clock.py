"""What times the work: the host's clock on a CPU, CUDA events on a GPU.

A GPU runs behind the host: host times around a module say when work was handed over, not how long it took. Events
are recorded into the stream and read when they have happened, later; nothing here ever waits for the device, since
a wait would change what is measured. Events are pooled: making one is slower than recording one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol

__all__ = ["Clock", "EventPool", "GpuClock", "HostClock", "Memory"]

Mark = Any  # an int of the host's clock, or an event


class Clock(Protocol):
    """Marks moments cheaply, and says later when they were. One a pipeline call."""

    @property
    def name(self) -> Literal["host", "gpu"]:
        """Whose clock it is."""

    mark: Callable[[], Mark]  # an attribute, so that the host's costs no frame

    def ready(self, mark: Mark) -> bool:
        """Whether the moment has come; asks, never waits."""

    def at(self, mark: Mark) -> int:
        """Nanoseconds since the epoch. Only for marks that are ready."""

    def between(self, start: Mark, end: Mark) -> int:
        """Nanoseconds from one mark to another. Only for marks that are ready."""

    def release(self, marks: Sequence[Mark]) -> None:
        """These marks are not needed any more."""

    def memory(self, *, begins: bool = False) -> Memory | None:
        """The device's memory now, or None where there is no device to ask. `begins`: a stage does."""


class Memory(tuple[int, int]):
    """Bytes that torch has allocated on the device now, and at most so far in this process."""

    __slots__ = ()


class HostClock:
    """Nanoseconds of the host's monotonic clock, tied to the epoch once."""

    name: Final = "host"

    def __init__(
        self, mark: Callable[[], int] = time.perf_counter_ns, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.mark: Callable[[], Mark] = mark
        self._offset = wall_ns() - mark()

    def ready(self, mark: Mark) -> bool:
        """Always."""
        del mark
        return True

    def at(self, mark: Mark) -> int:
        """Nanoseconds since the epoch."""
        return int(mark) + self._offset

    def between(self, start: Mark, end: Mark) -> int:
        """Nanoseconds."""
        return int(end) - int(start)

    def release(self, marks: Sequence[Mark]) -> None:
        """Nothing to do."""

    def memory(self, *, begins: bool = False) -> Memory | None:
        """None: host memory belongs to the process, not to a stage."""
        del begins
        return None


class EventPool:
    """CUDA events that are used again. Several threads may take and give."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._free: list[Any] = []

    def take(self) -> Any:
        """An event, new if none is free."""
        try:
            return self._free.pop()  # one operation: two threads never get the same
        except IndexError:
            return self._make()

    def give(self, events: Sequence[Any]) -> None:
        """Events whose times have been read."""
        self._free.extend(events)

    def __len__(self) -> int:
        return len(self._free)


class GpuClock:
    """Events on a device's current CUDA stream. The first ties the GPU's time to the epoch.

    When the GPU is still busy with earlier work as the call begins, positions in the trace are early by as much;
    durations are not affected. With `reset_peaks` torch's highest mark of memory begins anew with each stage: without
    it a stage's own peak is known only if it is the process' highest so far.
    """

    name: Final = "gpu"

    def __init__(
        self,
        pool: EventPool,
        cuda: Any,
        device: Any,
        wall_ns: Callable[[], int] = time.time_ns,
        *,
        reset_peaks: bool = False,
    ) -> None:
        self._pool = pool
        self._cuda = cuda  # torch.cuda
        self._device = device
        self._reset_peaks = reset_peaks
        self.mark: Callable[[], Mark] = self._mark
        self._anchor = self._mark()
        self._anchor_ns = wall_ns()

    def _mark(self) -> Mark:
        event = self._pool.take()
        event.record(self._cuda.current_stream(self._device))  # not always the current device's
        return event

    def ready(self, mark: Mark) -> bool:
        """Whether the GPU has got there."""
        return bool(mark.query())

    def at(self, mark: Mark) -> int:
        """Nanoseconds since the epoch."""
        return self._anchor_ns + self.between(self._anchor, mark)

    def between(self, start: Mark, end: Mark) -> int:
        """Nanoseconds; CUDA resolves about half a microsecond."""
        return 0 if start is end else round(start.elapsed_time(end) * 1e6)

    def release(self, marks: Sequence[Mark]) -> None:
        """Back to the pool."""
        self._pool.give(marks)

    def memory(self, *, begins: bool = False) -> Memory | None:
        """Bytes allocated now, and the most so far; reading them is host work only."""
        if begins and self._reset_peaks:
            self._cuda.reset_peak_memory_stats(self._device)
        return Memory(
            (
                int(self._cuda.memory_allocated(self._device)),
                int(self._cuda.max_memory_allocated(self._device)),
            )
        )
