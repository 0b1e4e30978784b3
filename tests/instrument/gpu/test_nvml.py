"""NVML's answers become readings: from a recording, and from nvidia-ml-py over a driver made of Python."""

from __future__ import annotations

import ctypes
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.instrument.gpu import (
    GpuReading,
    NvmlSource,
    RecordedSource,
    RecordingEnded,
    SourceUnavailable,
    record,
)
from rushes.instrument.gpu.calls import PynvmlCalls, Refused
from rushes.instrument.gpu.nvml import _Counters, _rate_gbps
from rushes.instrument.gpu.recording import RecordedCalls

pynvml: Any = importlib.import_module("pynvml")  # it has no types


def _sweeps(path: Path) -> list[tuple[GpuReading, ...]]:
    source = RecordedSource(path)
    found = []
    while True:
        try:
            found.append(source.read().gpus)
        except RecordingEnded:
            return found


def _edited(tmp_path: Path, recording: Path, edit: Any) -> Path:
    data = json.loads(recording.read_text())
    edit(data)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(data))
    return path


def test_a_recordings_readings_are_in_plain_units(recording: Path) -> None:
    first, hot = _sweeps(recording)[0]
    assert (first.index, first.name) == (0, "NVIDIA H100 80GB HBM3")
    assert first.pids == (4211,)
    assert first.utilization_percent == 97
    assert first.memory_used_bytes == 71_303_168_000
    assert first.memory_percent == pytest.approx(100 * 71_303_168_000 / 85_520_809_984)
    assert (first.temperature_celsius, hot.temperature_celsius) == (64, 82)
    assert first.power_watts == 652.11
    assert (first.ecc_corrected, first.ecc_uncorrected) == (3, 0)


def test_throttling_and_xid_are_seen_where_and_when_they_happened(recording: Path) -> None:
    sweeps = _sweeps(recording)
    assert [gpus[0].throttle for gpus in sweeps] == [frozenset()] * 6
    assert [sorted(gpus[1].throttle or ()) for gpus in sweeps] == [
        [], [], *[["hw_slowdown", "hw_thermal"]] * 3, ["sw_power_cap"],
    ]  # fmt: skip
    assert [gpus[0].xids for gpus in sweeps] == [()] * 6
    assert [gpus[1].xids for gpus in sweeps] == [(), (), (), (94,), (), ()]
    assert [gpus[1].ecc_uncorrected for gpus in sweeps] == [0, 0, 0, 1, 1, 1]


def test_nvlink_is_a_rate_across_the_wrap_of_its_counters(recording: Path) -> None:
    sweeps = _sweeps(recording)
    # One reading is no rate.
    assert [gpu.nvlink_gbps for gpu in sweeps[0]] == [None, None]
    for gpus in sweeps[1:]:
        for gpu in gpus:  # both directions at 12,207,031 KiB a second
            assert gpu.nvlink_gbps == pytest.approx(200.0, rel=1e-3)


@given(
    st.sampled_from([32, 64]),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 3_000_000_000),
    st.integers(1, 10_000_000_000),
)
def test_a_rate_does_not_depend_on_where_the_counter_stood(
    bits: int, tx: int, rx: int, moved_kib: int, elapsed_ns: int
) -> None:
    width = 2**bits
    before = _Counters(0, (tx % width, rx % width), bits)
    after = _Counters(elapsed_ns, ((tx + moved_kib) % width, rx % width), bits)
    from_zero = _rate_gbps(_Counters(0, (0, 0), bits), _Counters(elapsed_ns, (moved_kib, 0), bits))
    assert _rate_gbps(before, after) == from_zero
    if from_zero is not None:
        assert from_zero == pytest.approx(moved_kib * 1024 * 8 / elapsed_ns)


def test_a_counter_that_was_reset_gives_no_rate(recording: Path, tmp_path: Path) -> None:
    def reset(data: Any) -> None:
        for sweep in data["sweeps"][1:]:
            for value in sweep["answers"]["0"]["nvmlDeviceGetFieldValues(138, 4294967295, 139, 4294967295)"]:
                value["value"] = 17

    sweeps = _sweeps(_edited(tmp_path, recording, reset))
    assert sweeps[1][0].nvlink_gbps is None
    assert sweeps[2][0].nvlink_gbps == 0  # the counter stands: nothing moved


@pytest.mark.parametrize("state", [0, {"error": 3}])
def test_without_an_active_link_there_is_no_nvlink_reading(
    recording: Path, tmp_path: Path, state: object
) -> None:
    def unlink(data: Any) -> None:
        for link in range(36):
            data["opening"]["0"][f"nvmlDeviceGetNvLinkState({link})"] = state

    sweeps = _sweeps(_edited(tmp_path, recording, unlink))
    assert {gpus[0].nvlink_gbps for gpus in sweeps} == {None}
    assert sweeps[1][1].nvlink_gbps is not None


def test_what_a_gpu_refuses_is_absent_and_the_rest_is_read(recording: Path, tmp_path: Path) -> None:
    def lose(data: Any) -> None:
        for sweep in data["sweeps"]:
            answers = sweep["answers"]["0"]
            sweep["answers"]["0"] = {key: {"error": 15} for key in answers}  # the GPU is lost
            sweep["xids"] = {"error": 3}

    lost, other = _sweeps(_edited(tmp_path, recording, lose))[1]
    assert lost == GpuReading(0, "NVIDIA H100 80GB HBM3", "GPU-3d5f0a0e-8f1c-6a55-1f0e-7f4b9a1f2c01")
    assert lost.memory_percent is None
    assert other.utilization_percent == 99


def test_a_driver_that_goes_away_is_told_from_a_value_that_is_not_there(
    recording: Path, tmp_path: Path
) -> None:
    def unload(data: Any) -> None:
        data["sweeps"][1]["answers"]["0"]["nvmlDeviceGetUtilizationRates()"] = {"error": 9}

    source = RecordedSource(_edited(tmp_path, recording, unload))
    source.read()
    with pytest.raises(SourceUnavailable, match="no longer answers"):
        source.read()


def test_recording_a_recording_writes_the_same_file(recording: Path, tmp_path: Path) -> None:
    waits: list[float] = []
    record(tmp_path / "again.json", 6, 1.0, calls=RecordedCalls(recording), wait=waits.append)
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(recording.read_text())
    assert waits == [1.0] * 5


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"format": "something"}')
    with pytest.raises(ValueError, match=r"other\.json is no recording of NVML"):
        RecordedSource(path)


class Driver:
    """libnvidia-ml for one GPU, as far as nvidia-ml-py calls it: functions that fill what they are pointed to."""

    def __init__(self) -> None:
        self.events = [(1, 48), (1, 79)]
        self.field_kib = 1000
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in {"nvmlInitWithFlags", "nvmlShutdown", "nvmlEventSetFree", "nvmlDeviceRegisterEvents"}:
            return lambda *_: 0
        values = {
            "nvmlDeviceGetCount_v2": 1,
            "nvmlDeviceGetTemperature": 55,
            "nvmlDeviceGetPowerUsage": 301_500,
            "nvmlDeviceGetTotalEccErrors": 2,
            "nvmlDeviceGetCurrentClocksEventReasons": 0x20,
            "nvmlDeviceGetNvLinkState": 1,
        }
        if name in values:
            return lambda *args: self._set(args[-1]._obj, value=values[name])
        raise AttributeError(name)

    def _set(self, target: Any, **fields: Any) -> int:
        if self.lost:
            return 15
        for field, value in fields.items():
            setattr(target, field, value)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, _index: Any, handle: Any) -> int:  # noqa: N802
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = 0x1000
        return 0

    def nvmlDeviceGetName(self, _handle: Any, text: Any, _size: Any) -> int:  # noqa: N802
        return self._set(text, value=b"NVIDIA H100 80GB HBM3")

    def nvmlDeviceGetUUID(self, _handle: Any, text: Any, _size: Any) -> int:  # noqa: N802
        return self._set(text, value=b"GPU-11111111-2222-3333-4444-555555555555")

    def nvmlDeviceGetUtilizationRates(self, _handle: Any, out: Any) -> int:  # noqa: N802
        return self._set(out._obj, gpu=42, memory=7)

    def nvmlDeviceGetMemoryInfo_v2(self, _handle: Any, out: Any) -> int:  # noqa: N802
        assert out._obj.version == 0x02000028
        return self._set(out._obj, total=80, used=20, free=50, reserved=10)

    def nvmlDeviceGetComputeRunningProcesses_v3(self, _handle: Any, count: Any, out: Any) -> int:  # noqa: N802
        if out is None:
            self._set(count._obj, value=1)
            return 7  # insufficient size: there is one
        out[0].pid, out[0].usedGpuMemory = 777, 20
        return self._set(count._obj, value=1)

    def nvmlDeviceGetFieldValues(self, _handle: Any, count: Any, out: Any) -> int:  # noqa: N802
        self.field_kib += 1000
        for value in out._obj[: count.value]:
            assert value.scopeId == 0xFFFFFFFF
            value.valueType, value.nvmlReturn, value.value.ullVal = 3, 0, self.field_kib
        return 0

    def nvmlEventSetCreate(self, out: Any) -> int:  # noqa: N802
        ctypes.cast(out, ctypes.POINTER(ctypes.c_void_p))[0] = 0x2000
        return 0

    def nvmlEventSetWait_v2(self, _events: Any, out: Any, timeout: Any) -> int:  # noqa: N802
        assert timeout.value == 0
        if not self.events:
            return 10  # timeout
        _, number = self.events.pop(0)
        out._obj.device = ctypes.cast(0x1000, type(out._obj.device))
        out._obj.eventData = number
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setattr(pynvml, "nvmlLib", made)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return made


def test_nvidia_ml_py_is_called_as_it_wants_to_be(driver: Driver) -> None:
    source = NvmlSource()
    (first,) = source.read().gpus
    assert first == GpuReading(
        index=0,
        name="NVIDIA H100 80GB HBM3",
        uuid="GPU-11111111-2222-3333-4444-555555555555",
        pids=(777,),
        utilization_percent=42,
        memory_used_bytes=20,
        memory_total_bytes=80,
        temperature_celsius=55,
        power_watts=301.5,
        throttle=frozenset({"sw_thermal"}),
        ecc_corrected=2,
        ecc_uncorrected=2,
        xids=(48, 79),
    )
    (second,) = source.read().gpus
    assert second.nvlink_gbps is not None
    assert second.nvlink_gbps > 0
    assert second.xids == ()
    source.close()


def test_a_gpu_that_falls_off_the_bus_still_reports_its_xid(driver: Driver) -> None:
    source = NvmlSource()
    driver.lost = True
    (gpu,) = source.read().gpus
    assert gpu.xids == (48, 79)
    assert gpu.utilization_percent is None
    source.close()


def test_what_record_writes_of_a_driver_replays_as_it_was(driver: Driver, tmp_path: Path) -> None:
    record(tmp_path / "own.json", 2, wait=lambda _: None)
    first, second = _sweeps(tmp_path / "own.json")
    assert first[0].xids == (48, 79)
    assert first[0].pids == (777,)
    assert second[0].nvlink_gbps is not None


def test_an_old_binding_or_driver_refuses_a_call_it_does_not_know(driver: Driver) -> None:
    calls = PynvmlCalls()
    for unknown in ("nvmlDeviceGetSomethingNew", "nvmlDeviceGetFanSpeed"):
        with pytest.raises(Refused) as refused:
            calls.ask(unknown, 0)
        assert refused.value.code == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    calls.close()


def test_no_gpu_and_no_driver_say_so(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "nvmlDeviceGetCount_v2", lambda _count: 0, raising=False)
    with pytest.raises(SourceUnavailable, match="sees no GPU"):
        NvmlSource()

    def missing(_name: str) -> None:
        raise OSError

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", missing)
    with pytest.raises(SourceUnavailable, match="there is no NVIDIA driver on this host"):
        NvmlSource()
