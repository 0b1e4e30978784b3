"""Caches that answer instead of a module: skipped is told from fast, checked against the attention's own work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recording import Recorded
from rushes.instrument import instrument, uninstrument
from rushes.studio.models.offline import libraries
from tiny_pipelines import Tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
Build = Callable[[str], Tiny]
STEPS = 6


def _pab(pipe: Any) -> Any:
    libraries()
    from diffusers import PyramidAttentionBroadcastConfig

    return PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-1, 1001),
        current_timestep_callback=lambda: pipe.current_timestep,
    )


def _first_block(_: Any) -> Any:
    libraries()
    from diffusers.hooks import FirstBlockCacheConfig

    return FirstBlockCacheConfig(
        threshold=1e6
    )  # after the first step all but the first block is always skipped


def _faster(pipe: Any) -> Any:
    libraries()
    from diffusers import FasterCacheConfig

    return FasterCacheConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-1, 1001),
        unconditional_batch_skip_range=2,
        unconditional_batch_timestep_skip_range=(-1, 1001),
        attention_weight_callback=lambda _: 0.3,
        tensor_format="BFCHW",
        current_timestep_callback=lambda: pipe.current_timestep,
    )


CACHES = {"pab": _pab, "first block": _first_block, "faster": _faster}


def _truth(pipe: Any) -> list[int]:
    """Counts attention where it is computed, in the processor, which no cache replaces; one entry a step."""
    counts: list[int] = []
    for block in pipe.transformer.transformer_blocks:
        processor = block.attn1.processor
        original = type(processor).__call__

        class Counting(type(processor)):  # type: ignore[misc]
            _original = staticmethod(original)

            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                counts[-1] += 1
                return self._original(self, *args, **kwargs)

        processor.__class__ = Counting
    # Before the network's first pass of each step, which in this pipeline is its only one.
    pipe.transformer.register_forward_pre_hook(lambda *_: counts.append(0))
    return counts


@pytest.mark.parametrize("order", ["cache first", "instrument first"])
@pytest.mark.parametrize("name", CACHES)
def test_skipped_modules_are_told_from_executed_ones(
    name: str, order: str, tiny: Build, recorded: Recorded
) -> None:
    made = tiny("cogvideox")
    pipe = made.pipe
    call = {"num_inference_steps": STEPS, "guidance_scale": 6.0}
    pipe.transformer.enable_cache(CACHES[name](pipe))
    plain = made.run(**call)
    pipe.transformer.disable_cache()

    counts = _truth(pipe)
    if order == "cache first":
        pipe.transformer.enable_cache(CACHES[name](pipe))
    instrument(pipe, model="CACHE", sample_every=1)
    if order == "instrument first":
        pipe.transformer.enable_cache(CACHES[name](pipe))
    assert torch.equal(plain, made.run(**call))

    executed, skipped = [], []
    for index in range(1, STEPS + 1):
        found: Any = recorded.span(f"step_{index}").attributes
        executed.append(found.get("rushes.executed.joint_attn", 0))
        skipped.append(found.get("rushes.skipped.joint_attn", 0))
        parts = [v for k, v in found.items() if k.startswith("rushes.ns.") and k != "rushes.ns.total"]
        assert sum(parts) == found["rushes.ns.total"]
    assert executed == counts
    assert [e + s for e, s in zip(executed, skipped, strict=True)] == [3] * STEPS
    assert any(skipped), "the cache has done something"

    loop: Any = recorded.span("dit_inference").attributes
    (gauge,) = [v for s, v in recorded.metrics("rushes_cache_hit_ratio").items() if "CACHE" in s]
    assert gauge == loop["rushes.cache_hit_ratio"]
    if name != "first block":  # there it is of blocks, feed-forward included
        assert gauge == pytest.approx(sum(skipped) / (3 * STEPS))
    else:
        # The first block's hook never skips; the two others do in all steps but the first.
        assert gauge == pytest.approx(2 * (STEPS - 1) / (3 * STEPS))

    pipe.transformer.disable_cache()
    recorded.spans.clear()
    made.run(**call)
    assert "rushes.cache_hit_ratio" not in (recorded.span("dit_inference").attributes or {})
    uninstrument(pipe)
    for module in pipe.transformer.modules():
        # diffusers leaves the bound original behind when a cache is disabled; nothing of ours may be there.
        left = vars(module).get("forward")
        assert left is None or left.__func__ is type(module).forward


def test_a_cache_that_takes_anothers_place_is_seen(tiny: Build, recorded: Recorded) -> None:
    """Its configuration and its hooks may lie where the old ones lay, and not every way to apply one leaves any."""
    made = tiny("cogvideox")
    pipe = made.pipe
    instrument(pipe, sample_every=0)

    def ratio() -> Any:
        recorded.spans.clear()
        made.run(num_inference_steps=2)
        return (recorded.span("dit_inference").attributes or {}).get("rushes.cache_hit_ratio")

    for _ in range(8):
        pipe.transformer.enable_cache(_pab(pipe))
        assert ratio() == 0.5
        pipe.transformer.disable_cache()
    assert ratio() is None
    from diffusers.hooks import apply_pyramid_attention_broadcast

    apply_pyramid_attention_broadcast(pipe.transformer, _pab(pipe))
    assert ratio() == 0.5
    uninstrument(pipe)


def test_a_module_that_takes_anothers_place_is_measured(tiny: Build, recorded: Recorded) -> None:
    made, other = tiny("cogvideox"), tiny("cogvideox")
    instrument(made.pipe, sample_every=1)
    made.run(num_inference_steps=2)
    block = made.pipe.transformer.transformer_blocks[1]
    block.attn1 = other.pipe.transformer.transformer_blocks[1].attn1
    recorded.spans.clear()
    made.run(num_inference_steps=2)
    uninstrument(made.pipe)
    found: Any = recorded.span("step_2").attributes
    assert found["rushes.executed.joint_attn"] == made.executed["joint_attn"]


def test_a_step_that_is_not_sampled_is_counted_too(tiny: Build, recorded: Recorded) -> None:
    made = tiny("cogvideox")
    made.pipe.transformer.enable_cache(_pab(made.pipe))
    instrument(made.pipe, sample_every=0)
    made.run(num_inference_steps=4)
    uninstrument(made.pipe)
    loop: Any = recorded.span("dit_inference").attributes
    assert loop["rushes.cache_hit_ratio"] == 0.5
    found: Any = recorded.span("step_2").attributes
    assert "rushes.executed.joint_attn" not in found
