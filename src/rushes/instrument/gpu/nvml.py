"""NVIDIA GPUs: NVML's answers turned into readings.

NVLink's counters only grow, in KiB, and wrap; a rate is their difference over the time between two readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rushes.catalog.labels import Throttle
from rushes.instrument.gpu.calls import ALL_LINKS, Answer, Calls, PynvmlCalls, Refused
from rushes.instrument.gpu.source import GpuReading, SourceUnavailable, Sweep

__all__ = ["NvmlSource"]

_MEMORY_V2: Final = 0x02000028  # without what the driver reserves for itself; as nvidia-smi shows it
_TX, _RX = 138, 139  # NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_*
_MAX_LINKS: Final = 36
_BITS: Final = {1: 32, 2: 64, 3: 64}  # nvmlValueType_t to the width of the counter
_UNAVAILABLE: Final = 2**64 - 1
_KIB_BITS: Final = 1024 * 8
# No NVLink there is moves as much: such a difference is a counter that was reset, not one that wrapped.
_IMPLAUSIBLE_GBPS: Final = 60_000.0
# The driver has gone, been unloaded or been replaced under us: nothing more will be answered.
_GONE: Final = frozenset({1, 9, 18})

_THROTTLE: Final[dict[int, Throttle]] = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal",
    0x40: "hw_thermal",
    0x80: "hw_power_brake",
}


@dataclass(frozen=True, slots=True)
class _Counters:
    at_ns: int
    values: tuple[int, int]
    bits: int


def _rate_gbps(before: _Counters, after: _Counters) -> float | None:
    """Gbit/s of both directions between two readings, or None if they can't be compared."""
    elapsed_ns = after.at_ns - before.at_ns
    if elapsed_ns <= 0 or before.bits != after.bits:
        return None
    kib = sum((b - a) % 2**after.bits for a, b in zip(before.values, after.values, strict=True))
    gbps = kib * _KIB_BITS / elapsed_ns  # bits a nanosecond are Gbit/s
    return gbps if gbps < _IMPLAUSIBLE_GBPS else None


class NvmlSource:
    """Reads the NVIDIA GPUs of this host.

    Args:
        calls: who answers; NVML itself by default.

    Raises:
        SourceUnavailable: no package, no driver, or no GPU.
    """

    def __init__(self, calls: Calls | None = None) -> None:
        self._calls: Final[Calls] = PynvmlCalls() if calls is None else calls
        count = self._value("nvmlDeviceGetCount") or 0
        if not count:
            self._calls.close()
            raise SourceUnavailable("the NVIDIA driver sees no GPU")
        self._names: Final = [str(self._value("nvmlDeviceGetName", i) or "unknown") for i in range(count)]
        self._uuids: Final = [str(self._value("nvmlDeviceGetUUID", i) or "") for i in range(count)]
        self._linked: Final = [self._has_links(i) for i in range(count)]
        self._before: Final[dict[int, _Counters]] = {}

    @property
    def vendor(self) -> str:
        return "nvidia"

    def read(self) -> Sweep:
        time_ns, monotonic_ns = self._calls.now()
        xids = self._xids()
        gpus = tuple(
            self._gpu(i, monotonic_ns, None if xids is None else xids.get(i, ()))
            for i in range(len(self._names))
        )
        return Sweep(time_ns, gpus)

    def close(self) -> None:
        self._calls.close()

    def _gpu(self, index: int, monotonic_ns: int, xids: tuple[int, ...] | None) -> GpuReading:
        utilization = self._value("nvmlDeviceGetUtilizationRates", index)
        memory = self._value("nvmlDeviceGetMemoryInfo", index, _MEMORY_V2)
        if memory is None:
            memory = self._value("nvmlDeviceGetMemoryInfo", index)
        reasons = self._value("nvmlDeviceGetCurrentClocksEventReasons", index)
        if reasons is None:
            reasons = self._value("nvmlDeviceGetCurrentClocksThrottleReasons", index)
        milliwatts = self._value("nvmlDeviceGetPowerUsage", index)
        return GpuReading(
            index=index,
            name=self._names[index],
            uuid=self._uuids[index],
            pids=self._pids(index),
            utilization_percent=None if utilization is None else float(utilization["gpu"]),
            memory_used_bytes=None if memory is None else memory["used"],
            memory_total_bytes=None if memory is None else memory["total"],
            temperature_celsius=self._value("nvmlDeviceGetTemperature", index, 0),
            power_watts=None if milliwatts is None else milliwatts / 1000,
            nvlink_gbps=self._nvlink(index, monotonic_ns) if self._linked[index] else None,
            throttle=None
            if reasons is None
            else frozenset(t for bit, t in _THROTTLE.items() if reasons & bit),
            ecc_corrected=self._value("nvmlDeviceGetTotalEccErrors", index, 0, 0),
            ecc_uncorrected=self._value("nvmlDeviceGetTotalEccErrors", index, 1, 0),
            xids=xids,
        )

    def _pids(self, index: int) -> tuple[int, ...]:
        processes = self._value("nvmlDeviceGetComputeRunningProcesses_v3", index)
        if processes is None:
            processes = self._value("nvmlDeviceGetComputeRunningProcesses_v2", index)
        return tuple(sorted(p["pid"] for p in processes or ()))

    def _has_links(self, index: int) -> bool:
        for link in range(_MAX_LINKS):
            active = self._value("nvmlDeviceGetNvLinkState", index, link)
            if active:
                return True
            if active is None:
                return False  # not supported, or past the last link
        return False

    def _nvlink(self, index: int, monotonic_ns: int) -> float | None:
        fields = self._value("nvmlDeviceGetFieldValues", index, _TX, ALL_LINKS, _RX, ALL_LINKS)
        before = self._before.pop(index, None)
        if fields is None or any(f["nvmlReturn"] or f["valueType"] not in _BITS for f in fields):
            return None
        tx, rx = (f["value"] for f in fields)
        if _UNAVAILABLE in {tx, rx}:
            return None
        after = _Counters(monotonic_ns, (tx, rx), _BITS[fields[0]["valueType"]])
        self._before[index] = after
        return None if before is None else _rate_gbps(before, after)

    def _xids(self) -> dict[int, tuple[int, ...]] | None:
        """The new XID errors by GPU, or None where the driver reports none at all."""
        found: dict[int, tuple[int, ...]] = {}
        try:
            for index, number in self._calls.xids():
                found[index] = (*found.get(index, ()), number)
        except Refused as refused:
            _raise_if_gone(refused)
            return None
        return found

    def _value(self, call: str, device: int | None = None, *args: int) -> Answer:
        """NVML's answer, or None where it refuses one."""
        try:
            return self._calls.ask(call, device, *args)
        except Refused as refused:
            _raise_if_gone(refused)
            return None


def _raise_if_gone(refused: Refused) -> None:
    if refused.code in _GONE:
        raise SourceUnavailable(f"the NVIDIA driver no longer answers (error {refused.code})") from None
