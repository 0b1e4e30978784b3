"""AMD GPUs: the same readings by amdsmi, which AMD ships with ROCm.

NVLink and XID are NVIDIA's and stay absent.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from typing import Any, Final

from rushes.catalog.labels import Throttle
from rushes.instrument.gpu.source import GpuReading, SourceUnavailable, Sweep

__all__ = ["AmdSource"]

_ABSENT: Final = 0xFFFF  # what a 16-bit reading holds when there is none

_VIOLATIONS: Final[dict[str, Throttle]] = {
    "active_ppt_pwr": "sw_power_cap",
    "active_socket_thrm": "hw_thermal",
    "active_hbm_thrm": "hw_thermal",
    "active_vr_thrm": "hw_thermal",
    "active_prochot_thrm": "hw_slowdown",
}


class AmdSource:
    """Reads the AMD GPUs of this host.

    Raises:
        SourceUnavailable: no amdsmi, no driver, or no GPU.
    """

    def __init__(self) -> None:
        try:
            self._smi = importlib.import_module("amdsmi")
        except Exception as error:  # noqa: BLE001 - it loads libamd_smi.so and fails in ways of its own
            raise SourceUnavailable(f"amdsmi can't be loaded ({type(error).__name__})") from None
        self._error: type[Exception] = self._smi.AmdSmiException
        try:
            self._smi.amdsmi_init()
            self._handles = list(self._smi.amdsmi_get_processor_handles())
        except self._error as error:
            raise SourceUnavailable(f"the AMD driver does not answer ({type(error).__name__})") from None
        if not self._handles:
            self.close()
            raise SourceUnavailable("the AMD driver sees no GPU")
        self._names = [self._name(h) for h in self._handles]
        self._uuids = [str(self._value("amdsmi_get_gpu_device_uuid", h) or "") for h in self._handles]

    @property
    def vendor(self) -> str:
        return "amd"

    def read(self) -> Sweep:
        time_ns = time.time_ns()
        return Sweep(time_ns, tuple(self._gpu(i, h) for i, h in enumerate(self._handles)))

    def close(self) -> None:
        with contextlib.suppress(self._error):  # a driver that has gone needs no letting go
            self._smi.amdsmi_shut_down()

    def _gpu(self, index: int, handle: Any) -> GpuReading:
        smi = self._smi
        activity = self._value("amdsmi_get_gpu_activity", handle) or {}
        ecc = self._value("amdsmi_get_gpu_total_ecc_count", handle) or {}
        vram = smi.AmdSmiMemoryType.VRAM
        used = _number(self._value("amdsmi_get_gpu_memory_usage", handle, vram))
        total = _number(self._value("amdsmi_get_gpu_memory_total", handle, vram))
        corrected, uncorrected = (_number(ecc.get(k)) for k in ("correctable_count", "uncorrectable_count"))
        return GpuReading(
            index=index,
            name=self._names[index],
            uuid=self._uuids[index],
            pids=tuple(sorted(p["pid"] for p in self._value("amdsmi_get_gpu_process_list", handle) or ())),
            utilization_percent=_number(activity.get("gfx_activity")),
            memory_used_bytes=None if used is None else int(used),
            memory_total_bytes=None if total is None else int(total),
            temperature_celsius=self._temperature(handle),
            power_watts=self._power(handle),
            throttle=self._throttle(handle),
            ecc_corrected=None if corrected is None else int(corrected),
            ecc_uncorrected=None if uncorrected is None else int(uncorrected),
        )

    def _name(self, handle: Any) -> str:
        asic = self._value("amdsmi_get_gpu_asic_info", handle) or {}
        name = str(asic.get("market_name", "N/A"))
        return "unknown" if name == "N/A" else name

    def _temperature(self, handle: Any) -> float | None:
        # The hot spot throttles first; older cards have the edge's sensor alone.
        current = self._smi.AmdSmiTemperatureMetric.CURRENT
        for sensor in (self._smi.AmdSmiTemperatureType.HOTSPOT, self._smi.AmdSmiTemperatureType.EDGE):
            value = _number(self._value("amdsmi_get_temp_metric", handle, sensor, current))
            if value is not None:
                return value
        return None

    def _power(self, handle: Any) -> float | None:
        info = self._value("amdsmi_get_power_info", handle) or {}
        for field in ("current_socket_power", "average_socket_power"):
            value = _number(info.get(field))
            if value is not None and value != _ABSENT:
                return value
        return None

    def _throttle(self, handle: Any) -> frozenset[Throttle] | None:
        status = self._value("amdsmi_get_violation_status", handle)
        known = {k: status[k] for k in _VIOLATIONS if isinstance(status.get(k), bool)} if status else {}
        return frozenset(_VIOLATIONS[k] for k, active in known.items() if active) if known else None

    def _value(self, call: str, *args: Any) -> Any:
        """The answer, or None where the driver refuses one or this amdsmi has no such call."""
        try:
            return getattr(self._smi, call)(*args)
        except (self._error, AttributeError):
            return None


def _number(value: Any) -> float | None:
    """A number, or None for the "N/A" that amdsmi says."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
