"""The cards: plain data for the small checkpoints, read from the JSON configs for real weights.

What an architecture fixes (sizes, frame groups, lengths) comes from the configs; what no config of diffusers holds
(frame rate, usual steps, how long a video makes sense) is listed here for each family.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rushes.studio.models.card import ModelCard
from rushes.studio.models.errors import UnknownModel
from rushes.studio.models.weights import WeightsFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("MOCHI1", "LTX2", "OPENSORA")
# OPENSORA is the spatial/temporal architecture: diffusers has no Open-Sora, Latte is the nearest.
PIPELINES = {
    "MOCHI1": frozenset({"MochiPipeline"}),
    "LTX2": frozenset({"LTX2Pipeline"}),
    "OPENSORA": frozenset({"LattePipeline"}),
}

SMALL = {
    "MOCHI1": ModelCard(
        name="MOCHI1",
        pipeline="MochiPipeline",
        text_encoder_role="t5xxl",
        has_audio=False,
        fps=24,
        default_seconds=1.0,
        min_seconds=1.0,
        max_seconds=5.0,
        default_width=64,
        default_height=64,
        min_size=32,
        max_width=128,
        max_height=128,
        size_multiple=16,
        default_steps=8,
        min_steps=2,
        max_steps=50,
        default_guidance=4.5,
        prompt_limit=1000,
        frame_group=6,
        small=True,
    ),
    "LTX2": ModelCard(
        name="LTX2",
        pipeline="LTX2Pipeline",
        text_encoder_role="gemma3",
        has_audio=True,
        fps=24,
        default_seconds=1.0,
        min_seconds=1.0,
        max_seconds=5.0,
        default_width=64,
        default_height=64,
        min_size=32,
        max_width=128,
        max_height=128,
        size_multiple=32,
        default_steps=8,
        min_steps=2,
        max_steps=50,
        default_guidance=3.0,
        prompt_limit=1000,
        frame_group=8,
        small=True,
        takes_picture=True,
    ),
    "OPENSORA": ModelCard(
        name="OPENSORA",
        pipeline="LattePipeline",
        text_encoder_role="t5xxl",
        has_audio=False,
        fps=8,
        default_seconds=2.0,
        min_seconds=2.0,
        max_seconds=2.0,
        default_width=64,
        default_height=64,
        min_size=32,
        max_width=128,
        max_height=128,
        size_multiple=16,
        default_steps=8,
        max_steps=50,
        default_guidance=7.5,
        prompt_limit=1000,
        fixed_frames=16,
        small=True,
    ),
}

# What the trained checkpoints draw best with; the rest is as in the small ones of random weights.
TRAINED = {
    "MOCHI1": replace(SMALL["MOCHI1"], default_steps=20, default_guidance=2.0),
    "OPENSORA": replace(SMALL["OPENSORA"], default_steps=50, default_guidance=2.0),
}


@dataclass(frozen=True, slots=True)
class _Geometry:
    """What the configs of a checkpoint say about sizes (pixels) and lengths (frames, seconds)."""

    size_multiple: int
    frame_group: int
    default_size: tuple[int, int]
    max_size: tuple[int, int]
    max_seconds: float
    fixed_frames: int | None = None


def _number(config: dict[str, Any], key: str, default: int) -> int:
    value = config.get(key)
    return default if value is None else int(value)


def _mochi(checkpoint: WeightsFolder) -> _Geometry:
    vae = checkpoint.read("vae/config.json")
    spatial = math.prod(int(one) for one in vae.get("spatial_expansions", (2, 2, 2)))
    temporal = math.prod(int(one) for one in vae.get("temporal_expansions", (1, 2, 3)))
    multiple = spatial * _number(checkpoint.read("transformer/config.json"), "patch_size", 2)
    return _Geometry(multiple, temporal, (848, 480), (1280, 1280), 5.0)


def _ltx2(checkpoint: WeightsFolder) -> _Geometry:
    vae = checkpoint.read("vae/config.json")
    transformer = checkpoint.read("transformer/config.json")
    scaling = vae.get("spatio_temporal_scaling", (True,) * 4)
    doublings = 2 ** sum(bool(stage) for stage in scaling)
    spatial = _number(vae, "spatial_compression_ratio", _number(vae, "patch_size", 4) * doublings)
    temporal = _number(vae, "temporal_compression_ratio", _number(vae, "patch_size_t", 1) * doublings)
    multiple = math.lcm(32, spatial * _number(transformer, "patch_size", 1))  # the pipeline itself demands 32
    group = temporal * _number(transformer, "patch_size_t", 1)
    largest = (_number(transformer, "base_width", 2048), _number(transformer, "base_height", 2048))
    return _Geometry(
        multiple, group, (768, 512), largest, float(_number(transformer, "pos_embed_max_pos", 20))
    )


def _latte(checkpoint: WeightsFolder) -> _Geometry:
    transformer = checkpoint.read("transformer/config.json")
    blocks = checkpoint.read("vae/config.json").get("block_out_channels", (64,))
    scale = 2 ** (len(blocks) - 1)
    side = _number(transformer, "sample_size", 64) * scale
    multiple = math.lcm(8, scale * _number(transformer, "patch_size", 2))
    return _Geometry(
        multiple, 1, (side, side), (side, side), math.inf, _number(transformer, "video_length", 16)
    )


@dataclass(frozen=True, slots=True)
class _Family:
    """What no config of diffusers holds: diffusers' own defaults for these pipelines, and the rates trained at."""

    geometry: Callable[[WeightsFolder], _Geometry]
    text_encoder_role: str
    has_audio: bool
    fps: int
    default_seconds: float
    default_steps: int
    default_guidance: float
    prompt_limit: int
    min_steps: int  # the schedules of Mochi and LTX2 divide by zero for a single step


_FAMILIES = {
    "MochiPipeline": _Family(_mochi, "t5xxl", False, 30, 5.0, 64, 4.5, 1000, 2),
    "LTX2Pipeline": _Family(_ltx2, "gemma3", True, 24, 5.0, 30, 3.0, 4000, 2),
    "LattePipeline": _Family(_latte, "t5xxl", False, 8, 2.0, 50, 7.5, 500, 1),
}
_MAX_STEPS = 100


def checkpoint(name: str, folder: Path, setting: str | None = None) -> WeightsFolder:
    """The checkpoint of `name` in `folder`, unread. Raises `UnknownModel`."""
    if name not in PIPELINES:
        raise UnknownModel(f"there is no model {name}; there are {', '.join(NAMES)}")
    return WeightsFolder(name, folder, PIPELINES[name], setting or f"the weights setting of {name}")


def card_of(weights: WeightsFolder) -> ModelCard:
    """The card of a folder of weights, from its JSON files alone. Raises `WeightsMissing`."""
    weights.components()
    manifest = weights.manifest()
    if manifest is not None:
        kind = manifest.get("checkpoint")
        if kind == f"trained {weights.name}" and weights.name in TRAINED:
            return TRAINED[weights.name]
        if kind == f"small {weights.name}":
            return SMALL[weights.name]
    pipeline = str(weights.read("model_index.json")["_class_name"])
    family = _FAMILIES[pipeline]
    try:
        geometry = family.geometry(weights)
    except (TypeError, ValueError) as error:
        raise weights.missing("its configs hold sizes that are not numbers") from error
    seconds = min(family.default_seconds, geometry.max_seconds)
    shortest, longest = min(1.0, seconds), geometry.max_seconds
    if geometry.fixed_frames is not None:
        seconds = shortest = longest = geometry.fixed_frames / family.fps
    multiple = geometry.size_multiple
    width, height = (max(multiple, side - side % multiple) for side in geometry.default_size)
    return ModelCard(
        name=weights.name,
        pipeline=pipeline,
        text_encoder_role=family.text_encoder_role,
        has_audio=family.has_audio,
        fps=family.fps,
        default_seconds=seconds,
        min_seconds=shortest,
        max_seconds=longest,
        default_width=width,
        default_height=height,
        min_size=multiple * 2,
        max_width=geometry.max_size[0],
        max_height=geometry.max_size[1],
        size_multiple=multiple,
        default_steps=family.default_steps,
        min_steps=family.min_steps,
        max_steps=_MAX_STEPS,
        default_guidance=family.default_guidance,
        prompt_limit=family.prompt_limit,
        frame_group=geometry.frame_group,
        fixed_frames=geometry.fixed_frames,
        takes_picture=pipeline == "LTX2Pipeline",
    )
