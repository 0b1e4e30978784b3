"""Whether times by kind are true: ours beside torch.profiler's, over the same modules of the same steps.

Real networks of four families, random weights, large enough that a module takes longer than a profiler's range.
The profiler's ranges lie around ours, so they are a little longer by construction.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    LatteTransformer3DModel,
    LTXVideoTransformer3DModel,
    MochiTransformer3DModel,
    WanTransformer3DModel,
)
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from torch.profiler import ProfilerActivity, profile, record_function

from rushes.instrument import instrument, uninstrument
from rushes.instrument.families import FAMILIES
from rushes.instrument.kinds import family_of
from rushes.sdk import configure

__all__ = ["measure"]

_STEPS = 6
_RANGE = "bench:"


class Scheduler:
    """A step's end."""

    def step(self, x: Any) -> Any:
        """Nothing: the loop's outputs do not matter here."""
        return x


class Loop:
    """A denoising loop over one network with fixed inputs."""

    def __init__(self, network: Any, inputs: dict[str, Any]) -> None:
        self.transformer, self.scheduler = network.eval(), Scheduler()
        self._inputs = inputs

    def __call__(self) -> None:
        with torch.inference_mode():
            for _ in range(_STEPS):
                self.scheduler.step(self.transformer(**self._inputs, return_dict=False))


def _latte() -> Loop:
    network = LatteTransformer3DModel(
        sample_size=32,
        num_layers=4,
        patch_size=2,
        attention_head_dim=32,
        num_attention_heads=8,
        caption_channels=64,
        in_channels=4,
        cross_attention_dim=256,
        out_channels=8,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        video_length=8,
    )
    return Loop(
        network,
        {
            "hidden_states": torch.randn(1, 4, 8, 32, 32),
            "timestep": torch.tensor([500]),
            "encoder_hidden_states": torch.randn(1, 64, 64),
        },
    )


def _ltx() -> Loop:
    network = LTXVideoTransformer3DModel(
        in_channels=16,
        out_channels=16,
        num_attention_heads=8,
        attention_head_dim=32,
        cross_attention_dim=256,
        num_layers=4,
        caption_channels=64,
    )
    return Loop(
        network,
        {
            "hidden_states": torch.randn(1, 4 * 16 * 16, 16),
            "encoder_hidden_states": torch.randn(1, 64, 64),
            "timestep": torch.tensor([500]),
            "encoder_attention_mask": torch.ones(1, 64),
            "num_frames": 4,
            "height": 16,
            "width": 16,
        },
    )


def _wan() -> Loop:
    network = WanTransformer3DModel(
        num_attention_heads=8,
        attention_head_dim=32,
        text_dim=64,
        ffn_dim=1024,
        num_layers=4,
        rope_max_seq_len=64,
    )
    return Loop(
        network,
        {
            "hidden_states": torch.randn(1, 16, 4, 32, 32),
            "timestep": torch.tensor([500]),
            "encoder_hidden_states": torch.randn(1, 64, 64),
        },
    )


def _mochi() -> Loop:
    network = MochiTransformer3DModel(
        num_attention_heads=8,
        attention_head_dim=32,
        num_layers=4,
        pooled_projection_dim=128,
        text_embed_dim=64,
        time_embed_dim=64,
        max_sequence_length=64,
    )
    return Loop(
        network,
        {
            "hidden_states": torch.randn(1, 12, 4, 32, 32),
            "encoder_hidden_states": torch.randn(1, 64, 64),
            "timestep": torch.tensor([500.0]),
            "encoder_attention_mask": torch.ones(1, 64, dtype=torch.bool),
        },
    )


_NETWORKS: dict[str, Callable[[], Loop]] = {"Latte": _latte, "LTX": _ltx, "Wan": _wan, "Mochi": _mochi}


def _ranges(network: Any) -> None:
    """A profiler's range around each module that the map knows."""
    family = family_of(type(network).__name__, FAMILIES)
    assert family is not None

    def range_of(kind: str) -> tuple[Callable[..., None], Callable[..., None]]:
        opened: list[Any] = []

        def before(*_: Any) -> None:
            opened.append(record_function(f"{_RANGE}{kind}"))
            opened[-1].__enter__()

        def after(*_: Any) -> None:
            opened.pop().__exit__(None, None, None)

        return before, after

    for path, module in network.named_modules():
        kind = family.kind_of(path)
        if kind is not None:
            before, after = range_of(kind)
            module.register_forward_pre_hook(before)
            module.register_forward_hook(after)


def measure() -> list[tuple[str, str]]:
    """For each family and kind: our milliseconds, the profiler's, and by how much ours differ."""
    warnings.filterwarnings("ignore", category=UserWarning)
    telemetry = configure(log_level=None)
    assert telemetry.tracers is not None
    spans = InMemorySpanExporter()
    telemetry.tracers.add_span_processor(SimpleSpanProcessor(spans))
    rows = []
    for name, build in _NETWORKS.items():
        loop = build()
        loop()  # warm
        _ranges(loop.transformer)
        instrument(loop, sample_every=1)
        spans.clear()
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            loop()
        uninstrument(loop)
        theirs = {
            event.key.removeprefix(_RANGE): event.cpu_time_total / 1000
            for event in profiled.key_averages()
            if event.key.startswith(_RANGE)
        }
        ours: dict[str, float] = defaultdict(float)
        for span in spans.get_finished_spans():
            if span.name in theirs and span.end_time and span.start_time:
                ours[span.name] += (span.end_time - span.start_time) / 1e6
        for kind, peer in sorted(theirs.items()):
            rows.append(
                (
                    f"{name}, {kind}: rushes against torch.profiler",
                    f"{ours[kind]:.1f} ms, {peer:.1f} ms ({(ours[kind] / peer - 1):+.1%})",
                )
            )
    return rows
