"""What instrumentation costs the host a denoising step: ours, a span a module, and torch.profiler, in one run.

The network has the 28 layers and 84 modules of a real one and computes nothing, so that what is measured is the
extra time itself and not the difference of two large numbers. Spans go the way they go when a collector is
configured, redaction and batch processor included, to an exporter that drops them. Ours are mostly written after the
loop, which on a GPU is when the host has time; both are told. It is the calling thread's processor time that counts,
so that what else runs on the machine does not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from torch.profiler import ProfilerActivity, profile, record_function

from rushes.instrument import Family, Rule, instrument, uninstrument
from rushes.sdk import configure
from rushes.sdk.accounting import Account, AccountedSpans

__all__ = ["Nowhere", "measure"]

_LAYERS = 28
_STEPS = (20, 120)  # the slope between them is a step's cost, without what a call costs
_ROUNDS = 15
_KINDS = {"attn1": "joint_attn", "attn2": "cross_attn", "ff": "ffn"}
_FAMILY = Family(
    ("Network",),
    (
        Rule("blocks.*.attn1", "joint_attn"),
        Rule("blocks.*.attn2", "cross_attn"),
        Rule("blocks.*.ff", "ffn"),
    ),
    model="BENCH",
)


_EVERY = {"unsampled": 0, "every 10th": 10, "every step": 1}
_LABELS = {
    "unsampled": "rushes, steps and passes only (sample_every=0)",
    "every 10th": "rushes, sub-modules on every 10th step (the default)",
    "every step": "rushes, all 84 sub-modules on every step",
    "span": "an OpenTelemetry span a module",
    "profiler": "torch.profiler with a range a module, CPU activities",
}


class Nowhere(SpanExporter):
    """Takes spans and drops them."""

    def export(self, spans: Any) -> SpanExportResult:
        """Nothing is sent."""
        assert all(isinstance(span, ReadableSpan) for span in spans)
        return SpanExportResult.SUCCESS


class Part(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """Attention or feed-forward, as far as the host sees it."""

    def forward(self, x: Any) -> Any:
        """Nothing."""
        return x


class Block(torch.nn.Module):  # type: ignore[misc]  # likewise
    """Three parts."""

    def __init__(self) -> None:
        super().__init__()
        self.attn1, self.attn2, self.ff = Part(), Part(), Part()

    def forward(self, x: Any) -> Any:
        """One after the other."""
        return self.ff(self.attn2(self.attn1(x)))


class Network(torch.nn.Module):  # type: ignore[misc]  # likewise
    """As many layers as LTX has."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block() for _ in range(_LAYERS))

    def forward(self, x: Any) -> Any:
        """Through all layers."""
        for block in self.blocks:
            x = block(x)
        return x


class Scheduler:
    """A step's end."""

    def step(self, x: Any) -> Any:
        """Nothing."""
        return x


class Loop:
    """The least that is a pipeline; `loop_s` is the time of its last loop alone."""

    def __init__(self) -> None:
        self.transformer, self.scheduler = Network(), Scheduler()
        self.loop_s = 0.0

    def __call__(self, x: Any, steps: int) -> Any:
        begun = time.thread_time()
        for _ in range(steps):
            x = self.scheduler.step(self.transformer(x))
        self.loop_s = time.thread_time() - begun
        return x


def _span_a_module(pipe: Any) -> None:
    tracer = trace.get_tracer("bench")

    def wrapped(forward: Callable[..., Any], name: str) -> Callable[..., Any]:
        def traced(*args: Any, **kwargs: Any) -> Any:
            with tracer.start_as_current_span(name):
                return forward(*args, **kwargs)

        return traced

    for block in pipe.transformer.blocks:
        for name in _KINDS:
            module = getattr(block, name)
            module.forward = wrapped(module.forward, name)


def _ranges(pipe: Any) -> None:
    def wrapped(forward: Callable[..., Any], name: str) -> Callable[..., Any]:
        def traced(*args: Any, **kwargs: Any) -> Any:
            with record_function(name):
                return forward(*args, **kwargs)

        return traced

    for block in pipe.transformer.blocks:
        for name in _KINDS:
            module = getattr(block, name)
            module.forward = wrapped(module.forward, name)


def _profiled(pipe: Any, x: Any, steps: int) -> None:
    with profile(activities=[ProfilerActivity.CPU]):
        pipe(x, steps)


def _seconds(run: Callable[[int], object], pipe: Any, steps: int) -> tuple[float, float]:
    """Of the whole call, and of its loop alone; as with timeit, without the garbage collector's turns."""
    gc.collect()
    gc.disable()
    try:
        begun = time.thread_time()
        run(steps)
        return time.thread_time() - begun, pipe.loop_s
    finally:
        gc.enable()


def measure() -> list[tuple[str, str]]:
    """Extra microseconds a step: medians over rounds in turn."""
    telemetry = configure(log_level=None)
    assert telemetry.tracers is not None
    telemetry.tracers.add_span_processor(AccountedSpans(Nowhere(), Account("spans", 8192), delay_ms=500))
    x = torch.zeros(1)
    pipes = {name: Loop() for name in ("nothing", *_LABELS)}
    for name, every in _EVERY.items():
        instrument(pipes[name], sample_every=every, families=[_FAMILY])
    _span_a_module(pipes["span"])
    _ranges(pipes["profiler"])
    slopes: dict[str, list[tuple[float, float]]] = {name: [] for name in pipes}
    for _ in range(_ROUNDS):
        for name, pipe in pipes.items():
            telemetry.tracers.force_flush()  # nobody pays for another's spans

            def run(steps: int, pipe: Any = pipe, *, profiled: bool = name == "profiler") -> None:
                if profiled:
                    _profiled(pipe, x, steps)
                else:
                    pipe(x, steps)

            few, many = _STEPS
            short, long = _seconds(run, pipe, few), _seconds(run, pipe, many)
            slopes[name].append(
                ((long[0] - short[0]) / (many - few) * 1e6, (long[1] - short[1]) / (many - few) * 1e6)
            )
    for name in _EVERY:
        uninstrument(pipes[name])
    medians = {
        name: tuple(statistics.median(column) for column in zip(*values, strict=True))
        for name, values in slopes.items()
    }
    plain = medians.pop("nothing")
    rows = []
    for name, (whole, loop) in medians.items():
        inside = f", {loop - plain[1]:.0f} us of it in the loop" if name in _EVERY else ""
        rows.append((f"extra host time a step: {_LABELS[name]}", f"{whole - plain[0]:.0f} us{inside}"))
    return [*rows, ("the step itself, which computes nothing", f"{plain[0]:.0f} us")]
