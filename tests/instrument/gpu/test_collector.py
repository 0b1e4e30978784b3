"""One collector a host shows the GPUs as metrics, says once when it can't, and gives way to another."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from recording import Recorded
from rushes.instrument.gpu import (
    Collector,
    GpuReading,
    RecordedSource,
    Source,
    SourceUnavailable,
    Sweep,
    WorkerProcess,
    by_process,
)
from rushes.instrument.gpu.collector import _REOPEN_AFTER
from rushes.instrument.gpu.lock import HostLock

OWNERS = by_process(
    lambda: [WorkerProcess("w-0", frozenset({4211})), WorkerProcess("w-1", frozenset({4305}))]
)
SPECIFIED = (
    "gpu_utilization_percent",
    "gpu_memory_used_bytes",
    "gpu_memory_utilization_percent",
    "gpu_temperature_celsius",
    "nvlink_bandwidth_gbps",
)


def _labels(worker: str, gpu: int) -> str:
    return f'{{gpu_index="{gpu}",gpu_type="NVIDIA H100 80GB HBM3",worker_id="{worker}"}}'


@contextmanager
def _stopped_after(collector: Collector) -> Iterator[Collector]:
    try:
        yield collector
    finally:
        collector.stop()


@pytest.fixture
def collector(recording: Path, tmp_path: Path) -> Iterator[Collector]:
    made = Collector(tmp_path / "gpu.lock", workers=OWNERS, source=lambda: RecordedSource(recording))
    with _stopped_after(made):
        yield made


def test_the_specifications_gauges_come_out_for_each_gpu(recorded: Recorded, collector: Collector) -> None:
    assert collector.tick()
    assert recorded.metrics("gpu_utilization_percent") == {
        f"gpu_utilization_percent{_labels('w-0', 0)}": 97,
        f"gpu_utilization_percent{_labels('w-1', 1)}": 99,
    }
    assert (
        recorded.metrics("gpu_memory_used_bytes")[f"gpu_memory_used_bytes{_labels('w-0', 0)}"]
        == 71_303_168_000
    )
    assert recorded.metrics("nvlink_bandwidth_gbps") == {}  # one reading of a counter is no rate
    collector.tick()
    rates = recorded.metrics("nvlink_bandwidth_gbps")
    assert list(rates.values()) == pytest.approx([200, 200], rel=1e-3)
    share = recorded.metrics("gpu_memory_utilization_percent")[
        f"gpu_memory_utilization_percent{_labels('w-1', 1)}"
    ]
    assert share == pytest.approx(98.7, abs=0.01)


def test_power_throttling_and_errors_come_out_beside_them(recorded: Recorded, collector: Collector) -> None:
    collector.tick()
    assert set(recorded.metrics("rushes_gpu_xid_errors_total").values()) == {0}
    assert recorded.metrics("rushes_gpu_xid_last") == {}
    for _ in range(3):
        collector.tick()
    assert (
        recorded.metrics("rushes_gpu_power_draw_watts")[f"rushes_gpu_power_draw_watts{_labels('w-1', 1)}"]
        == 402.115
    )
    throttled = recorded.metrics("rushes_gpu_throttled")
    active = {series for series, value in throttled.items() if value}
    assert {('reason="hw_thermal"' in s, 'reason="hw_slowdown"' in s) for s in active} == {
        (True, False),
        (False, True),
    }
    assert all('gpu_index="1"' in series for series in active)
    assert len(throttled) == 12
    assert recorded.metrics("rushes_gpu_xid_errors_total") == {
        f"rushes_gpu_xid_errors_total{_labels('w-0', 0)}": 0,
        f"rushes_gpu_xid_errors_total{_labels('w-1', 1)}": 1,
    }
    assert recorded.metrics("rushes_gpu_xid_last") == {f"rushes_gpu_xid_last{_labels('w-1', 1)}": 94}
    ecc = recorded.metrics("rushes_gpu_ecc_errors_total")
    assert sorted(ecc.values()) == [0, 1, 3, 5]
    (line,) = recorded.logs.get_finished_logs()
    assert "XID 94" in str((line.log_record.attributes or {}).get("error"))


def test_a_jobs_readings_are_found_by_worker_and_time(collector: Collector) -> None:
    for _ in range(6):
        collector.tick()
    start = 1_763_900_000_000_000_000
    found = collector.between(start + 1_000_000_000, start + 3_500_000_000)
    assert sorted(found) == ["w-0", "w-1"]
    assert [s.time_ns - start for s in found["w-1"]] == [1_000_250_000, 2_000_000_000, 3_000_250_000]
    assert [s.reading.temperature_celsius for s in found["w-1"]] == [85, 88, 90]
    assert collector.between(0, start - 1) == {}


def test_memory_for_readings_is_bounded(recording: Path, tmp_path: Path) -> None:
    made = Collector(tmp_path / "lock", source=lambda: RecordedSource(recording), capacity=4)
    with _stopped_after(made):
        for _ in range(6):
            made.tick()
        (samples,) = made.between(0, 2**63).values()
        assert [s.reading.temperature_celsius for s in samples] == [66, 88, 66, 86]


def test_series_end_with_the_collector_and_with_a_driver_that_hangs(
    recorded: Recorded, recording: Path, tmp_path: Path
) -> None:
    now = [100.0]
    made = Collector(tmp_path / "lock", source=lambda: RecordedSource(recording), clock=lambda: now[0])
    with _stopped_after(made):
        made.tick()
        assert len(recorded.metrics("gpu_temperature_celsius")) == 2
        now[0] += 5.1
        assert recorded.metrics("gpu_temperature_celsius") == {}
        made.tick()
        assert len(recorded.metrics("gpu_temperature_celsius")) == 2
    assert recorded.metrics("gpu_temperature_celsius") == {}


def test_one_collector_reads_and_another_takes_over(
    recorded: Recorded, recording: Path, tmp_path: Path
) -> None:
    first, second = (
        Collector(tmp_path / "run" / "gpu.lock", source=lambda: RecordedSource(recording)) for _ in range(2)
    )
    with _stopped_after(second):
        with _stopped_after(first):
            assert first.tick()
            assert second.tick()
            assert (first.reading, second.reading) == (True, False)
            assert len(recorded.metrics("gpu_temperature_celsius")) == 2
        second.tick()
        assert (first.reading, second.reading) == (False, True)
        assert len(recorded.metrics("gpu_temperature_celsius")) == 2


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "gpu.lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, sys, time\n"
            "from rushes.instrument.gpu.lock import HostLock\n"
            "lock = HostLock(pathlib.Path(sys.argv[1]))\n"
            "print(lock.acquire(), flush=True)\n"
            "sys.stdin.read()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        lock = HostLock(path)
        assert not lock.acquire()
        assert path.read_text() == f"{holder.pid}\n"
        holder.kill()
        holder.wait()
        assert lock.acquire()
        lock.release()


def test_no_gpu_is_one_log_line_and_no_series(recorded: Recorded, tmp_path: Path) -> None:
    def none() -> Source:
        raise SourceUnavailable("libnvidia-ml.so.1 is missing")

    made = Collector(tmp_path / "lock", source=none)
    with _stopped_after(made):
        assert not made.tick()  # the thread ends here
        assert not made.tick()
        assert not made.reading
    (line,) = recorded.logs.get_finished_logs()
    assert "no GPU is read on this host: libnvidia-ml.so.1 is missing" in str(line.log_record.attributes)
    for name in SPECIFIED:
        assert recorded.metrics(name) == {}
    assert HostLock(tmp_path / "lock").acquire()


class Flaky:
    """A source whose driver goes away after its first reading, and comes back when it is opened anew."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.reads = 0

    def open(self) -> Source:
        self.opened += 1
        self.reads = 0
        return self

    @property
    def vendor(self) -> str:
        return "nvidia"

    def read(self) -> Sweep:
        self.reads += 1
        if self.reads > 1 and self.opened == 1:
            raise SourceUnavailable("the driver no longer answers")
        return Sweep(1, (GpuReading(0, "H100", "GPU-1", temperature_celsius=50),))

    def close(self) -> None:
        self.closed += 1


def test_a_driver_that_comes_back_is_read_again(recorded: Recorded, tmp_path: Path) -> None:
    flaky = Flaky()
    made = Collector(tmp_path / "lock", source=flaky.open)
    with _stopped_after(made):
        assert made.tick()
        assert len(recorded.metrics("gpu_temperature_celsius")) == 1
        assert made.tick()
        assert recorded.metrics("gpu_temperature_celsius") == {}
        for _ in range(_REOPEN_AFTER):
            assert made.tick()
        assert flaky.opened == 1
        made.tick()
        assert (flaky.opened, flaky.closed) == (2, 1)
        assert len(recorded.metrics("gpu_temperature_celsius")) == 1
    assert len(recorded.logs.get_finished_logs()) == 1


def test_a_mapping_that_fails_costs_the_workers_names_only(
    recorded: Recorded, recording: Path, tmp_path: Path
) -> None:
    def broken(_gpus: Sequence[GpuReading]) -> Sequence[Sequence[str]]:
        raise RuntimeError("no workers here")

    made = Collector(tmp_path / "lock", workers=broken, source=lambda: RecordedSource(recording))
    with _stopped_after(made):
        made.tick()
        made.tick()
        assert f"gpu_temperature_celsius{_labels('', 0)}" in recorded.metrics("gpu_temperature_celsius")
    assert len(recorded.logs.get_finished_logs()) == 1


def test_the_thread_reads_and_ends(tmp_path: Path) -> None:
    enough = threading.Event()

    class Counting(Flaky):
        def read(self) -> Sweep:
            self.opened = 2
            sweep = super().read()
            if self.reads == 3:
                enough.set()
            return sweep

    counting = Counting()
    with Collector(tmp_path / "lock", source=counting.open, interval_s=0.001) as made:
        assert enough.wait(30)
        assert made.reading
    assert counting.closed == 1
    assert "rushes-gpu" not in {thread.name for thread in threading.enumerate()}


def test_an_interval_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="interval_s is 0"):
        Collector(tmp_path / "lock", interval_s=0)
