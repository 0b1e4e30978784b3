"""Whether times by kind are true: ours beside torch.profiler's, over the same modules of the same steps.

Real networks of every family, with random weights. The profiler's ranges lie within ours, so they are a little shorter
by construction.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from torch._C._profiler import _RecordFunctionFast
from torch.profiler import ProfilerActivity, profile

from benchmarks.instrument_networks import NETWORKS
from rushes.instrument import drain_waiting, instrument, uninstrument
from rushes.instrument.families import FAMILIES
from rushes.instrument.kinds import family_of
from rushes.sdk import configure

__all__ = ["Loop", "measure", "milliseconds", "ranges"]

_STEPS = 4
_RUNS = 3  # the one with the median ratio is told: a run may be torn by whatever else the machine does
_RANGE = "bench:"


class Scheduler:
    """A step's end."""

    def step(self, x: Any) -> Any:
        """Nothing: the loop's outputs do not matter here."""
        return x


class Loop:
    """A denoising loop over one network with fixed inputs."""

    def __init__(self, network: Any, inputs: dict[str, Any], steps: int = _STEPS) -> None:
        self.transformer, self.scheduler = network.eval(), Scheduler()
        self._execution_device = next(network.parameters()).device  # as pipelines have it
        self._inputs, self.steps = inputs, steps

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU does the work."""
        return bool(self._execution_device.type == "cuda")

    def __call__(self) -> None:
        with torch.inference_mode():
            for _ in range(self.steps):
                self.scheduler.step(self.transformer(**self._inputs, return_dict=False))


def ranges(network: Any) -> None:
    """A range of the profiler around each forward that the map knows: the light kind, which torch uses itself."""
    family = family_of(type(network).__name__, FAMILIES)
    assert family is not None

    def ranged(forward: Callable[..., Any], name: str) -> Callable[..., Any]:
        def within(*args: Any, **kwargs: Any) -> Any:
            with _RecordFunctionFast(name):
                return forward(*args, **kwargs)

        return within

    for path, module in network.named_modules():
        kind = family.kind_of(path)
        if kind is not None:
            module.forward = ranged(module.forward, f"{_RANGE}{kind}")


def measure() -> list[tuple[str, str]]:
    """For each family and kind: our milliseconds, the profiler's, and by how much ours differ."""
    warnings.filterwarnings("ignore", category=UserWarning)
    telemetry = configure(log_level=None)
    assert telemetry.tracers is not None
    spans = InMemorySpanExporter()
    telemetry.tracers.add_span_processor(SimpleSpanProcessor(spans))
    rows = []
    torch.manual_seed(0)
    torch.set_num_threads(1)  # another process on the machine then delays whole modules, not their halves
    for name, build in NETWORKS.items():
        loop = Loop(*build())
        loop()  # warm
        ranges(loop.transformer)
        instrument(loop, sample_every=1)
        runs: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for _ in range(_RUNS):
            for kind, pair in milliseconds(loop, spans).items():
                runs[kind].append(pair)
        uninstrument(loop)
        for kind, pairs in sorted(runs.items()):
            ours, peer = sorted(pairs, key=lambda pair: pair[0] / pair[1])[_RUNS // 2]
            rows.append(
                (
                    f"{name}, {kind}: rushes against torch.profiler",
                    f"{ours:.1f} ms, {peer:.1f} ms ({(ours / peer - 1):+.1%})",
                )
            )
    return rows


def milliseconds(loop: Loop, spans: InMemorySpanExporter) -> dict[str, tuple[float, float]]:
    """By kind over one loop: ours, and the profiler's (on a GPU what CUPTI says of the kernels within a range)."""
    spans.clear()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if loop.on_gpu else [])]
    with profile(activities=activities) as profiled:
        loop()
        if loop.on_gpu:
            torch.cuda.synchronize()
    drain_waiting()  # what a GPU had not finished when the loop ended
    theirs = {
        event.key.removeprefix(_RANGE): (event.device_time_total if loop.on_gpu else event.cpu_time_total)
        / 1000
        for event in profiled.key_averages()
        if event.key.startswith(_RANGE)
    }
    ours: dict[str, float] = defaultdict(float)
    for span in spans.get_finished_spans():
        if span.name in theirs and span.end_time and span.start_time:
            ours[span.name] += (span.end_time - span.start_time) / 1e6
    return {kind: (ours[kind], peer) for kind, peer in theirs.items()}
