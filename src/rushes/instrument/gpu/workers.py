"""Which worker a GPU belongs to: by the processes that run on it, else by what workers were told they may see.

In a container the driver names processes by the host's ids, which are nobody's there; CUDA_VISIBLE_DEVICES still
tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rushes.instrument.gpu.source import GpuReading

__all__ = ["WorkerProcess", "Workers", "by_process", "nobody", "visible_devices"]

Workers: TypeAlias = Callable[[Sequence[GpuReading]], Sequence[Sequence[str]]]
"""From a host's GPUs to the ids of the workers that each belongs to, in the same order."""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A worker on this host: its id, its processes, and the GPUs it may use, written as in CUDA_VISIBLE_DEVICES.

    `visible_devices` of None or "" claims no GPU: what the processes show still counts.
    """

    worker_id: str
    pids: frozenset[int]
    visible_devices: str | None = None


def visible_devices(device: str, environment: Mapping[str, str]) -> str:
    """The GPU of a process that works on torch's `device`, as CUDA_VISIBLE_DEVICES would name it; "" on a CPU.

    `cuda:1` is the second of those that the environment shows (HIP_VISIBLE_DEVICES on AMD's GPUs, which torch
    calls cuda as well), or of all.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return ""
    index = int(number) if number.isdecimal() else 0
    shown = environment.get("HIP_VISIBLE_DEVICES") or environment.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return str(index)
    names = [name.strip() for name in shown.split(",")]
    return names[index] if index < len(names) else ""


def nobody(gpus: Sequence[GpuReading]) -> list[tuple[str, ...]]:
    """No GPU belongs to a worker: their series carry an empty `worker_id`."""
    return [() for _ in gpus]


def by_process(workers: Callable[[], Iterable[WorkerProcess]]) -> Workers:
    """A mapping that asks `workers` at each reading.

    A GPU that several workers share is each one's. CUDA numbers GPUs by speed unless CUDA_DEVICE_ORDER is
    PCI_BUS_ID; on a host whose GPUs are alike the two orders are the same.
    """

    def mapping(gpus: Sequence[GpuReading]) -> list[tuple[str, ...]]:
        known = list(workers())
        allowed = {w.worker_id: _visible(w.visible_devices, gpus) for w in known}
        owners = []
        for gpu in gpus:
            running = {w.worker_id for w in known if w.pids.intersection(gpu.pids)}
            told = {w.worker_id for w in known if gpu.index in allowed[w.worker_id]}
            owners.append(tuple(sorted(running or told)))
        return owners

    return mapping


def _visible(devices: str | None, gpus: Sequence[GpuReading]) -> set[int]:
    """The indices that CUDA_VISIBLE_DEVICES names, up to the first that means nothing, as CUDA reads it."""
    found: set[int] = set()
    for name in (devices or "").split(","):
        wanted = name.strip()
        if wanted.isdecimal():
            matching = [g.index for g in gpus if g.index == int(wanted)]
        else:
            matching = [g.index for g in gpus if wanted and g.uuid.lower().startswith(wanted.lower())]
        if len(matching) != 1:
            break
        found.update(matching)
    return found
