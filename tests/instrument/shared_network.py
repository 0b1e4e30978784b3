"""One of several processes that share a network: renders with and without instrumentation, and prints what it saw.

`python shared_network.py RANK SIZE STORE CHECKPOINTS`, once a rank, on gloo: first tensor, then context parallelism.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rushes.instrument import instrument, uninstrument
from rushes.sdk import configure, exposition, set_strict
from tiny_pipelines import BUILDERS, wake


def tensor_parallel(transformer: Any, size: int) -> None:
    """Attention by heads and feed-forward by columns, as every tensor-parallel transformer has it."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (size,))
    for block in (*transformer.transformer_blocks, *transformer.temporal_transformer_blocks):
        plan: dict[str, Any] = {"ff.net.0.proj": ColwiseParallel(), "ff.net.2": RowwiseParallel()}
        for name in ("attn1", "attn2"):
            attention = getattr(block, name, None)
            if attention is not None:
                plan |= {f"{name}.to_{x}": ColwiseParallel() for x in "qkv"}
                plan[f"{name}.to_out.0"] = RowwiseParallel()
                attention.heads //= size
        parallelize_module(block, mesh, plan)


def context_parallel(transformer: Any, size: int) -> None:
    """diffusers' own, by all-to-all; it asks for an accelerator's count, and here is none."""
    from diffusers import ContextParallelConfig

    torch.accelerator.device_count = lambda: 1
    transformer.enable_parallelism(config=ContextParallelConfig(ulysses_degree=size))


def share(how: str, rank: int, size: int, store: str, checkpoints: str) -> dict[str, Any]:
    """What this rank saw: outputs' equality, the loop's and the steps' attributes, and the metric."""
    made = BUILDERS["latte" if how == "tensor" else "wan"](Path(checkpoints))
    pipe = made.pipe
    pipe.set_progress_bar_config(disable=True)
    pipe.transformer.eval()
    if how == "context":
        wake(pipe.transformer)
    call = {"output_type": "latent", "height": 32, "width": 32}  # tokens that can be divided
    alone = made.run(**call)
    if not dist.is_initialized():
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    (tensor_parallel if how == "tensor" else context_parallel)(pipe.transformer, size)

    plain = made.run(**call)
    before = {name: getattr(dist, name) for name in ("all_reduce", "all_gather", "all_to_all_single")}
    spans = InMemorySpanExporter()
    telemetry = configure(log_level=None)
    assert telemetry.tracers is not None
    telemetry.tracers.add_span_processor(SimpleSpanProcessor(spans))
    instrument(pipe, model=how, sample_every=2)
    measured = made.run(**call)
    uninstrument(pipe)

    found = {span.name: dict(span.attributes or {}) for span in spans.get_finished_spans()}
    samples = [line.rsplit(" ", 1) for line in exposition()[0].splitlines()]
    return {
        "equal": torch.equal(plain, measured),
        "error": float((alone - plain).abs().max() / alone.abs().max()),
        "loop": found["dit_inference"],
        "steps": [found[f"step_{index}"] for index in (1, 2, 3)],
        "metric": {
            part: float(value)
            for part in ("sum", "count")
            for series, value in samples
            if series == f'tensor_parallel_comm_duration_ms_{part}{{model="{how}"}}'
        },
        "restored": all(getattr(dist, name) is original for name, original in before.items()),
    }


if __name__ == "__main__":
    rank, size, store, checkpoints = sys.argv[1:]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    set_strict(True)
    reports = {
        how: share(how, int(rank), int(size), store, f"{checkpoints}/{rank}") for how in ("tensor", "context")
    }
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.write(f"{json.dumps(reports)}\n")
