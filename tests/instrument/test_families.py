"""Every family: the same bits with and without, the number of modules that the configuration says, exact sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recording import Recorded
from rushes.instrument import instrument, uninstrument
from rushes.instrument.families import FAMILIES
from rushes.instrument.kinds import family_of
from rushes.studio.models.offline import libraries
from tiny_pipelines import BUILDERS, STEPS, Tiny

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning",
    "ignore::FutureWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",  # Helios' scheduler gives numpy a tensor
)


def footprint(tiny: Tiny) -> dict[str, list[str]]:
    """What an instrumentation could leave behind: attributes of the pipeline, its class, and all its modules."""
    pipe = tiny.pipe
    found = {"pipe": sorted(vars(pipe)), "class": [repr(type(pipe).__call__), *sorted(vars(type(pipe)))]}
    found["scheduler"] = sorted(name for name in vars(pipe.scheduler) if callable(vars(pipe.scheduler)[name]))
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            for path, module in component.named_modules():
                # cache_context makes diffusers keep a registry of its own, instrumented or not.
                found[f"{name}.{path}"] = sorted(vars(module).keys() - {"_diffusers_hook"})
    return found


@pytest.mark.parametrize("name", BUILDERS)
def test_a_family(name: str, tiny: Callable[[str], Tiny], recorded: Recorded) -> None:
    made = tiny(name)
    plain = made.run()
    before = footprint(made)
    instrument(made.pipe, sample_every=1)
    measured = made.run()
    uninstrument(made.pipe)

    assert torch.equal(plain, measured)
    assert footprint(made) == before
    for index in range(1, STEPS + 1):
        attributes: Any = recorded.span(f"step_{index}").attributes
        executed = {k.removeprefix("rushes.executed."): v for k, v in attributes.items() if "executed" in k}
        assert executed == made.executed
        parts = [attributes[f"rushes.ns.{kind}"] for kind in (*executed, "other")]
        assert sum(parts) == attributes["rushes.ns.total"]
        assert all(part > 0 for part in parts)
        assert attributes["rushes.passes"] == made.passes
    decode: Any = recorded.span("vae_decode").attributes
    assert decode["output_frames"] == made.frames
    assert torch.equal(plain, made.run())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype, tiny: Callable[[str], Tiny], recorded: Recorded) -> None:
    made = tiny("ltx")
    made.pipe.to(dtype)
    call = {n: v.to(dtype) if n.endswith("embeds") else v for n, v in made.call.items()}
    plain = made.run(**call)
    instrument(made.pipe, sample_every=1)
    assert torch.equal(plain, made.run(**call))
    uninstrument(made.pipe)
    attributes: Any = recorded.span("step_3").attributes
    assert attributes["rushes.executed.joint_attn"] == made.executed["joint_attn"]


def test_guidance_decides_the_passes(tiny: Callable[[str], Tiny], recorded: Recorded) -> None:
    made = tiny("wan")
    instrument(made.pipe, sample_every=1)
    made.run(guidance_scale=1.0)
    uninstrument(made.pipe)
    attributes: Any = recorded.span("step_2").attributes
    assert attributes["rushes.passes"] == 1
    assert attributes["rushes.pass_names"] == ("cond",)
    assert attributes["rushes.executed.joint_attn"] == 3


def test_passes_have_names_and_times(tiny: Callable[[str], Tiny], recorded: Recorded) -> None:
    made = tiny("wan")
    instrument(made.pipe)
    made.run()
    uninstrument(made.pipe)
    attributes: Any = recorded.span("step_1").attributes
    assert attributes["rushes.pass_names"] == ("cond", "uncond")
    assert sum(attributes["rushes.pass_ms"]) <= attributes["step_duration_ms"]


def test_tiles_are_counted(tiny: Callable[[str], Tiny], recorded: Recorded) -> None:
    made = tiny("animatediff")
    vae = made.pipe.vae
    vae.enable_tiling()
    vae.tile_latent_min_size, vae.tile_sample_min_size = 4, 8
    plain = made.run()
    instrument(made.pipe)
    assert torch.equal(plain, made.run())
    uninstrument(made.pipe)
    attributes: Any = recorded.span("vae_decode").attributes
    assert attributes["rushes.decoder_calls"] == 9  # 8 x 8 latents, tiles of 4 that overlap by 1
    assert attributes["output_frames"] == 4
    spatial: Any = recorded.span("spatial_upsample").attributes
    assert spatial["rushes.executed"] == 9


def test_a_decoder_that_tells_time_and_space_apart(tiny: Callable[[str], Tiny], recorded: Recorded) -> None:
    made = tiny("wan")
    instrument(made.pipe)
    made.run()
    uninstrument(made.pipe)
    counts = {}
    for part in ("temporal_upsample", "spatial_upsample"):
        found: Any = recorded.span(part).attributes
        counts[part] = found["rushes.executed"]
    # Three chunks of latents, three spatial stages; two are temporal as well, but not for the first chunk.
    assert counts == {"temporal_upsample": 4, "spatial_upsample": 9}
    parent = recorded.span("vae_decode").context
    assert recorded.span("temporal_upsample").parent == parent


def test_the_map_names_classes_that_exist() -> None:
    diffusers, _ = libraries()
    names = {name for family in FAMILIES for name in family.classes} - {"STDiT3", "MMDiTModel"}  # Open-Sora's
    for name in names:
        assert isinstance(getattr(diffusers, name), type)


@pytest.mark.parametrize(
    ("cls", "path", "kind"),
    [
        ("STDiT3", "spatial_blocks.3.attn", "spatial_attn"),
        ("STDiT3", "temporal_blocks.3.cross_attn", "cross_attn"),
        ("HunyuanVideo15Transformer3DModel", "transformer_blocks.0.ff_context", "ffn"),
        ("SkyReelsV2Transformer3DModel", "blocks.10.attn1", "joint_attn"),
        ("HunyuanVideoTransformer3DModel", "context_embedder.token_refiner.refiner_blocks.0.attn", None),
        ("LatteTransformer3DModel", "transformer_blocks.0.attn1.to_q", None),
        ("UNetMotionModel", "mid_block.motion_modules.0.transformer_blocks.0.attn2", "temporal_attn"),
    ],
)
def test_paths_of_the_map(cls: str, path: str, kind: str | None) -> None:
    family = family_of(cls, FAMILIES)
    assert family is not None
    assert family.kind_of(path) == kind
