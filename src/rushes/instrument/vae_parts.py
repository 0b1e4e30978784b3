"""Which modules of a video VAE's decoder upsample in time and which in space.

Only modules that do one of the two count: many decoders (Mochi's, most of LTX's) upsample both with one convolution,
whose time can't be divided honestly.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from rushes.instrument.denoiser import is_compiled, timed
from rushes.instrument.wrapping import Patch, PatchSet

__all__ = ["DECODER", "Part", "decoder_parts", "decoder_patches"]

DECODER: Final = "decoder"  # the inner decoder: once a tile, or a chunk of frames

Part = Literal["temporal_upsample", "spatial_upsample"]


def _by_factors(time: float, space: float) -> Part | None:
    if (time > 1) == (space > 1):
        return None
    return "temporal_upsample" if time > 1 else "spatial_upsample"


def _by_stride(module: Any) -> Part | None:
    return _by_factors(module.stride[0], max(module.stride[1:]))


_BY_CLASS: Final[Mapping[str, Callable[[Any], Part | None]]] = {
    "Upsample2D": lambda _: "spatial_upsample",
    "LTXVideoUpsampler3d": _by_stride,
    "LTX2VideoUpsampler3d": _by_stride,
    "HunyuanVideoUpsampleCausal3D": lambda m: _by_factors(m.upsample_factor[0], max(m.upsample_factor[1:])),
    "HunyuanVideo15Upsample": lambda m: None if m.add_temporal_upsample else "spatial_upsample",
    "CogVideoXUpsample3D": lambda m: None if m.compress_time else "spatial_upsample",
    "AllegroTemporalConvLayer": lambda m: "temporal_upsample" if m.up_sample else None,
}
# One module that does both, in two parts that are modules of their own.
_BY_PATH: Final[Mapping[str, Mapping[str, Part]]] = {
    "WanResample": {"time_conv": "temporal_upsample", "resample": "spatial_upsample"},
    "CosmosUpsample3d": {"conv1": "temporal_upsample", "conv2": "spatial_upsample"},
}


def decoder_parts(decoder: Any) -> list[tuple[Any, Part]]:
    """The modules of a decoder that upsample in time only, or in space only. None may contain another."""
    found: list[tuple[Any, Part]] = []
    for module in decoder.modules():
        name = type(module).__name__
        if name in _BY_CLASS:
            part = _BY_CLASS[name](module)
            if part is not None:
                found.append((module, part))
        for child, part in _BY_PATH.get(name, {}).items():
            inner = getattr(module, child, None)
            if inner is not None and _upsamples(module, child):
                found.append((inner, part))
    return found


def _upsamples(module: Any, child: str) -> bool:
    """Cosmos keeps an identity where a direction is not upsampled; a resampler of 'none' has one too."""
    return type(getattr(module, child)).__name__ != "Identity"


# As with denoisers: two pipelines may decode with one VAE at the same time.
_sets: Final[weakref.WeakKeyDictionary[Any, PatchSet]] = weakref.WeakKeyDictionary()


def decoder_patches(vae: Any) -> PatchSet | None:
    """The wrappers of a VAE's inner decoder and its upsampling parts; None for what can't be looked into."""
    decoder = getattr(vae, "decoder", None)
    modules = getattr(vae, "modules", None)
    if decoder is None or modules is None or any(is_compiled(module) for module in modules()):
        return None
    found = _sets.get(vae)
    if found is None:
        parts = [Patch(module, "forward", timed(part)) for module, part in decoder_parts(decoder)]
        found = _sets.setdefault(vae, PatchSet([Patch(decoder, "forward", timed(DECODER)), *parts]))
    return found
