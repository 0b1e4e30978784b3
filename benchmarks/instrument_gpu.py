"""What instrumentation costs a GPU's step, and whether its times are true: full-size transformers, random weights.

Mochi 1 (10 billion parameters) and LTX (2 billion) in bfloat16, as their configurations are by default. The same loop
without instrumentation, with it and with every step sampled, in turn; then our times by kind of sub-module beside what
CUPTI says of the same kernels. Where there is no GPU with room for them nothing is measured, and that is said.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.instrument_cost import Nowhere
from benchmarks.instrument_truth import Loop, milliseconds, ranges
from rushes.instrument import instrument, uninstrument
from rushes.sdk import configure
from rushes.sdk.accounting import Account, AccountedSpans

__all__ = ["measure", "truth", "wall"]

_STEPS, _ROUNDS = 10, 7
_NEEDED = 40 * 2**30  # bytes: Mochi's weights and what a step takes beside them
_EVERY = {"steps and passes only": 0, "every step sampled": 1}

Made = tuple[Any, dict[str, Any]]


def _mochi() -> Made:
    """480x848, 37 frames: 11,130 tokens of picture and 256 of text."""
    network = diffusers.MochiTransformer3DModel()
    return network, {
        "hidden_states": torch.randn(1, 12, 7, 60, 106),
        "encoder_hidden_states": torch.randn(1, 256, 4096),
        "timestep": torch.tensor([500.0]),
        "encoder_attention_mask": torch.ones(1, 256, dtype=torch.bool),
    }


def _ltx() -> Made:
    """512x768, 121 frames: 6,144 tokens of picture, 128 of text."""
    network = diffusers.LTXVideoTransformer3DModel()
    return network, {
        "hidden_states": torch.randn(1, 16 * 16 * 24, 128),
        "encoder_hidden_states": torch.randn(1, 128, 4096),
        "timestep": torch.tensor([500.0]),
        "encoder_attention_mask": torch.ones(1, 128),
        "num_frames": 16,
        "height": 16,
        "width": 24,
    }


def _loop(build: Callable[[], Made]) -> Loop:
    """On the GPU from the start: the host need not have room for it."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            return Loop(*build(), steps=_STEPS)
    finally:
        torch.set_default_dtype(usual)


def wall(loop: Loop, rounds: int = _ROUNDS) -> dict[str, float]:
    """Median milliseconds a step by the wall, until the device is done: "nothing", and each way of `_EVERY`."""
    taken: dict[str, list[float]] = {name: [] for name in ("nothing", *_EVERY)}
    for _ in range(rounds):
        for name, one in taken.items():
            if name in _EVERY:
                instrument(loop, sample_every=_EVERY[name])
            loop()  # what the first call after a change costs is no step's
            _wait(loop)
            begun = time.perf_counter()
            loop()
            _wait(loop)
            one.append((time.perf_counter() - begun) * 1000 / loop.steps)
            uninstrument(loop)
    return {name: statistics.median(one) for name, one in taken.items()}


def truth(loop: Loop, spans: InMemorySpanExporter) -> dict[str, tuple[float, float]]:
    """Milliseconds of a whole loop by kind: ours, and the profiler's."""
    ranges(loop.transformer)
    instrument(loop, sample_every=1)
    try:
        return milliseconds(loop, spans)
    finally:
        uninstrument(loop)


def _wait(loop: Loop) -> None:
    if loop.on_gpu:
        torch.cuda.synchronize()


def measure() -> list[tuple[str, str]]:
    """For both transformers: a step's time, what is added to it, and our times beside CUPTI's."""
    if not torch.cuda.is_available():
        return [("not measured", "torch sees no GPU here")]
    free, _ = torch.cuda.mem_get_info()
    if free < _NEEDED:
        return [
            (
                "not measured",
                f"the GPU has {free / 2**30:.0f} GiB free, the transformers need {_NEEDED / 2**30:.0f}",
            )
        ]
    telemetry = configure(log_level=None)
    assert telemetry.tracers is not None
    telemetry.tracers.add_span_processor(AccountedSpans(Nowhere(), Account("spans", 8192), delay_ms=500))
    rows = [("GPU", torch.cuda.get_device_name())]
    loops = {"Mochi": _mochi, "LTX": _ltx}
    figures: dict[str, tuple[dict[str, float], dict[str, tuple[float, float]]]] = {}
    for name, build in loops.items():
        loop = _loop(build)
        medians = wall(loop)
        spans = InMemorySpanExporter()  # only from here on: keeping spans costs the host something too
        telemetry.tracers.add_span_processor(SimpleSpanProcessor(spans))
        figures[name] = medians, truth(loop, spans)
        spans.shutdown()
        del loop
        gc.collect()
        torch.cuda.empty_cache()
    for name, (medians, kinds) in figures.items():
        plain = medians.pop("nothing")
        rows.append((f"{name}: a step without instrumentation", f"{plain:.2f} ms"))
        rows += [
            (f"{name}: {way}, more a step", f"{(taken / plain - 1):+.3%}") for way, taken in medians.items()
        ]
        rows += [
            (
                f"{name}, {kind}: rushes against CUPTI",
                f"{ours:.1f} ms, {peer:.1f} ms ({(ours / peer - 1):+.1%})",
            )
            for kind, (ours, peer) in sorted(kinds.items())
        ]
    return rows
