"""The GPUs of a host: read once a second by NVML or amdsmi, shown as metrics, joined to workers and jobs."""

from __future__ import annotations

from rushes.instrument.gpu.amd import AmdSource
from rushes.instrument.gpu.collector import Collector, open_source
from rushes.instrument.gpu.nvml import NvmlSource
from rushes.instrument.gpu.recording import RecordedSource, RecordingEnded, record
from rushes.instrument.gpu.samples import GpuSample
from rushes.instrument.gpu.source import GpuReading, Source, SourceUnavailable, Sweep
from rushes.instrument.gpu.workers import WorkerProcess, Workers, by_process, nobody, visible_devices

__all__ = [
    "AmdSource",
    "Collector",
    "GpuReading",
    "GpuSample",
    "NvmlSource",
    "RecordedSource",
    "RecordingEnded",
    "Source",
    "SourceUnavailable",
    "Sweep",
    "WorkerProcess",
    "Workers",
    "by_process",
    "nobody",
    "open_source",
    "record",
    "visible_devices",
]
