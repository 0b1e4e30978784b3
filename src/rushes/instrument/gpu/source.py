"""What a host's GPUs say at one moment, in plain units, whoever made them.

A value that a GPU does not offer, or that its driver refuses, is None: zero is a measurement, and absence is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from rushes.catalog.labels import Throttle

__all__ = ["GpuReading", "Source", "SourceUnavailable", "Sweep"]

_PERCENT: Final = 100.0


class SourceUnavailable(Exception):  # noqa: N818 - reads as what it is
    """There is nothing to read here: no GPU, no driver, or no Python package for it. The text says which."""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU at one moment.

    `nvlink_gbps` is payload sent and received over all links since the reading before, in Gbit/s (10^9).
    `xids` are the driver's error numbers since the reading before; ECC counts are since the driver was loaded.
    """

    index: int
    name: str
    uuid: str
    pids: tuple[int, ...] = ()
    utilization_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    nvlink_gbps: float | None = None
    throttle: frozenset[Throttle] | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    xids: tuple[int, ...] | None = None

    @property
    def memory_percent(self) -> float | None:
        """The share of the GPU's memory that is in use, 0 to 100."""
        if self.memory_used_bytes is None or not self.memory_total_bytes:
            return None
        return _PERCENT * self.memory_used_bytes / self.memory_total_bytes


@dataclass(frozen=True, slots=True)
class Sweep:
    """All GPUs of a host at one moment; `time_ns` is nanoseconds since the epoch."""

    time_ns: int
    gpus: tuple[GpuReading, ...]


class Source(Protocol):
    """Something that reads this host's GPUs."""

    @property
    def vendor(self) -> str:
        """Whose driver answers: nvidia or amd."""

    def read(self) -> Sweep:
        """All GPUs, now. Raises `SourceUnavailable` when the driver has gone."""

    def close(self) -> None:
        """Lets go of the driver. Harmless when called twice."""
