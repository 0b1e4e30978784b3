"""Counts the time that one attempt has its worker's device, as it goes: what a killed worker did is not forgotten."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from rushes.sdk import logs
from rushes.studio.cost.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from rushes.studio.cost.attempt import Cause, Role
    from rushes.studio.cost.book import Book
    from rushes.studio.cost.device import Device
    from rushes.studio.jobs import Job

__all__ = ["Meter"]

_LOG: Final = logs.get_logger("worker")


class Meter:
    """Runs from entering it until `stop`, or until it is left.

    A database that refuses costs the count of this attempt, or its last second, and never the video.
    """

    def __init__(
        self,
        book: Book,
        job: Job,
        role: Role,
        device: Device,
        *,
        interval_s: float = 1.0,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Args:
        book: where it is written.
        job: as it was given to this worker.
        role: what the worker does with it.
        device: what it does it on.
        interval_s: seconds between two notes; a lost worker's attempt ends with the last one.
        wall: Unix nanoseconds.
        monotonic: nanoseconds that never go back.
        """
        self._book = book
        self._job = job
        self._role = role
        self._device = device
        self._interval_s = interval_s
        self._wall = wall
        self._monotonic = monotonic
        self._begun = 0
        self._start_ns = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rushes-meter", daemon=True)

    def __enter__(self) -> Self:
        self._begun, self._start_ns = self._monotonic(), self._wall()
        job, device = self._job, self._device
        try:
            self._book.open(
                Attempt(
                    job_id=job.id,
                    number=job.attempt,
                    role=self._role,
                    tier=job.tier,
                    model=job.model,
                    device=device.name,
                    device_kind=device.kind,
                    usd_per_second=device.usd_per_second,
                    start_ns=self._start_ns,
                    end_ns=self._start_ns,
                )
            )
        except SQLAlchemyError as error:
            _LOG.error(
                "log.message", error=f"an attempt's device time is not counted: {type(error).__name__}"
            )
            self._ended.set()
        else:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, cause: Cause | None = None) -> None:
        """Ends the attempt now; a second time does nothing.

        Args:
            cause: why it came to nothing, should another attempt follow.
        """
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        self._note(cause)

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._note()

    def _note(self, cause: Cause | None = None) -> None:
        end_ns = self._start_ns + self._monotonic() - self._begun
        try:
            self._book.reach(self._job.id, self._job.attempt, end_ns)
            if cause is not None:
                self._book.because(self._job.id, self._job.attempt, cause)
        except SQLAlchemyError:
            return  # the next note says more
