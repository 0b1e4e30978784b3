"""What a worker works on, and what an hour of it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from rushes.settings import Cost

_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Device:
    """A worker's device: its product name; `usd_per_second` is None where no price is set for it."""

    name: str
    kind: Literal["gpu", "cpu"]
    usd_per_second: float | None = None


CPU: Final = Device("cpu", "cpu")


def describe(device: str, prices: Cost) -> Device:
    """The device that torch calls `device` ("cuda", "cuda:1", "cpu"), with its price."""
    if not device.startswith("cuda"):
        hourly = prices.cpu_usd_per_hour
        return Device(
            device, "cpu" if device == "cpu" else "gpu", None if hourly is None else hourly / _HOUR_S
        )
    import torch

    name = torch.cuda.get_device_name(device)
    hourly = prices.of_gpu(name)
    return Device(name, "gpu", None if hourly is None else hourly / _HOUR_S)
