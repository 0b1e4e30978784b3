"""AMD's GPUs give the same readings; amdsmi's answers have the shapes of its version 7.0."""

from __future__ import annotations

import sys
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

from rushes.instrument.gpu import AmdSource, GpuReading, SourceUnavailable, open_source


class AmdSmiException(Exception):  # noqa: N818 - amdsmi's name
    pass


class AmdSmiMemoryType(Enum):
    VRAM = 0


class AmdSmiTemperatureType(Enum):
    EDGE = 0
    HOTSPOT = 1


class AmdSmiTemperatureMetric(Enum):
    CURRENT = 0


def _refuse(*_: Any) -> Any:
    raise AmdSmiException


@pytest.fixture
def smi(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("amdsmi")
    answers: dict[str, Any] = {
        "amdsmi_init": lambda: None,
        "amdsmi_shut_down": lambda: None,
        "amdsmi_get_processor_handles": lambda: ["handle"],
        "amdsmi_get_gpu_asic_info": lambda _: {"market_name": "AMD Instinct MI300X"},
        "amdsmi_get_gpu_device_uuid": lambda _: "64ff74b5-0000-1000-80e9-d9a4ae3d9b6e",
        "amdsmi_get_gpu_activity": lambda _: {"gfx_activity": 88, "umc_activity": 40, "mm_activity": "N/A"},
        "amdsmi_get_gpu_memory_usage": lambda *_: 150 * 2**30,
        "amdsmi_get_gpu_memory_total": lambda *_: 192 * 2**30,
        "amdsmi_get_temp_metric": lambda _, sensor, *__: 71 if sensor.name == "HOTSPOT" else 60,
        "amdsmi_get_power_info": lambda _: {"current_socket_power": 640, "average_socket_power": "N/A"},
        "amdsmi_get_gpu_process_list": lambda _: [{"name": "python", "pid": 31}, {"name": "N/A", "pid": 7}],
        "amdsmi_get_gpu_total_ecc_count": lambda _: {"correctable_count": 4, "uncorrectable_count": 0},
        "amdsmi_get_violation_status": lambda _: {
            "active_ppt_pwr": True,
            "active_socket_thrm": False,
            "active_hbm_thrm": "N/A",
        },
        "AmdSmiException": AmdSmiException,
        "AmdSmiMemoryType": AmdSmiMemoryType,
        "AmdSmiTemperatureType": AmdSmiTemperatureType,
        "AmdSmiTemperatureMetric": AmdSmiTemperatureMetric,
    }
    for name, answer in answers.items():
        setattr(module, name, answer)
    monkeypatch.setitem(sys.modules, "amdsmi", module)
    return module


def test_the_same_readings_as_nvidias(smi: ModuleType) -> None:
    source = AmdSource()
    (gpu,) = source.read().gpus
    assert gpu == GpuReading(
        index=0,
        name="AMD Instinct MI300X",
        uuid="64ff74b5-0000-1000-80e9-d9a4ae3d9b6e",
        pids=(7, 31),
        utilization_percent=88,
        memory_used_bytes=150 * 2**30,
        memory_total_bytes=192 * 2**30,
        temperature_celsius=71,
        power_watts=640,
        throttle=frozenset({"sw_power_cap"}),
        ecc_corrected=4,
        ecc_uncorrected=0,
    )
    assert gpu.nvlink_gbps is None
    assert gpu.xids is None
    source.close()


def test_what_a_card_does_not_offer_is_absent(smi: ModuleType) -> None:
    answers: dict[str, Any] = {
        "amdsmi_get_gpu_activity": lambda _: {"gfx_activity": "N/A"},
        "amdsmi_get_temp_metric": lambda _, sensor, *__: 60 if sensor.name == "EDGE" else _refuse(),
        "amdsmi_get_power_info": _refuse,
    }
    vars(smi).update(answers)
    del smi.amdsmi_get_violation_status
    (gpu,) = AmdSource().read().gpus
    assert gpu.utilization_percent is None
    assert gpu.temperature_celsius == 60
    assert gpu.power_watts is None
    assert gpu.throttle is None


def test_a_host_with_neither_says_why_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    with pytest.raises(SourceUnavailable, match=r"nvidia-ml-py is not installed.*amdsmi can't be loaded"):
        open_source()


def test_amds_gpus_are_read_where_nvidias_driver_is_missing(
    smi: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_source().vendor == "amd"


def test_a_host_whose_driver_sees_no_gpu(smi: ModuleType) -> None:
    vars(smi)["amdsmi_get_processor_handles"] = list
    with pytest.raises(SourceUnavailable, match="sees no GPU"):
        AmdSource()
