"""Whose GPU it is: by its processes, else by CUDA_VISIBLE_DEVICES, as CUDA reads it."""

from __future__ import annotations

import pytest

from rushes.instrument.gpu import GpuReading, WorkerProcess, by_process, nobody, visible_devices

GPUS = (
    GpuReading(0, "H100", "GPU-aaaa1111", pids=(10, 11)),
    GpuReading(1, "H100", "GPU-bbbb2222", pids=()),
    GpuReading(2, "H100", "GPU-bbbb3333", pids=(99,)),
)


def test_processes_decide_where_they_are_known() -> None:
    workers = [
        WorkerProcess("a", frozenset({10}), visible_devices="1"),
        WorkerProcess("b", frozenset({11, 12})),
        WorkerProcess("c", frozenset({13}), visible_devices="0,2"),
    ]
    # a and b share GPU 0; GPU 1 is idle but a's; GPU 2 runs a process that is nobody's, and was given to c.
    assert by_process(lambda: workers)(GPUS) == [("a", "b"), ("a",), ("c",)]


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, []),
        ("", []),
        ("0", [0]),
        ("2,1", [1, 2]),
        (" 1 , 2 ", [1, 2]),
        ("GPU-aaaa", [0]),
        ("gpu-BBBB2", [1]),
        ("GPU-bbbb", []),  # of two: means nothing
        ("1,7,2", [1]),  # CUDA stops at the first that is not there
        ("-1", []),
        ("NoDevFiles", []),
        ("MIG-0b4c", []),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(visible: str | None, indices: list[int]) -> None:
    gpus = [GpuReading(g.index, g.name, g.uuid) for g in GPUS]
    owners = by_process(lambda: [WorkerProcess("w", frozenset(), visible)])(gpus)
    assert [i for i, workers in enumerate(owners) if workers] == indices


def test_without_workers_a_gpu_is_nobodys() -> None:
    assert nobody(GPUS) == by_process(list)(GPUS) == [(), (), ()]


@pytest.mark.parametrize(
    ("device", "environment", "expected"),
    [
        ("cpu", {}, ""),
        ("cpu", {"CUDA_VISIBLE_DEVICES": "0"}, ""),
        ("mps", {}, ""),
        ("cuda", {}, "0"),
        ("cuda:1", {}, "1"),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "2, 0"}, "2"),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "2, 0"}, "0"),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "GPU-bbbb2222"}, "GPU-bbbb2222"),
        ("cuda:3", {"CUDA_VISIBLE_DEVICES": "2,0"}, ""),
        ("cuda", {"CUDA_VISIBLE_DEVICES": ""}, ""),
        ("cuda", {"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "0"}, "1"),
    ],
)
def test_a_process_claims_the_gpu_it_works_on(
    device: str, environment: dict[str, str], expected: str
) -> None:
    assert visible_devices(device, environment) == expected


def test_a_worker_in_a_container_is_joined_to_the_gpu_it_works_on() -> None:
    # The driver names processes by the host's ids, of which the container's workers know none.
    workers = [
        WorkerProcess("generate-0", frozenset({7}), visible_devices("cuda", {"CUDA_VISIBLE_DEVICES": "1"})),
        WorkerProcess("encode-0", frozenset({8}), visible_devices("cpu", {})),
    ]
    assert by_process(lambda: workers)(GPUS) == [(), ("generate-0",), ()]
