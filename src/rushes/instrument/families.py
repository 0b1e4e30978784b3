"""The module map: which paths of which denoiser are which kind of work. One entry a model class, data only."""

from __future__ import annotations

from typing import Final

from rushes.instrument.kinds import Family, Kind, Rule

__all__ = ["FAMILIES"]


def _in(container: str, **kinds: Kind) -> tuple[Rule, ...]:
    """Rules for the modules of each block in a container: `attn1="joint_attn"`."""
    return tuple(Rule(f"{container}.*.{name}", kind) for name, kind in kinds.items())


_BLOCKS: Final = "transformer_blocks"

FAMILIES: Final[tuple[Family, ...]] = (
    # Spatial blocks and temporal blocks in turn.
    Family(
        classes=("LatteTransformer3DModel",),
        rules=(
            *_in(_BLOCKS, attn1="spatial_attn", attn2="cross_attn", ff="ffn"),
            *_in("temporal_transformer_blocks", attn1="temporal_attn", ff="ffn"),
        ),
    ),
    # One attention over space, time and text; the last block has no ff_context.
    Family(
        classes=("MochiTransformer3DModel",),
        rules=_in(_BLOCKS, attn1="joint_attn", ff="ffn", ff_context="ffn"),
        model="MOCHI1",
    ),
    Family(
        classes=("LTXVideoTransformer3DModel",),
        rules=_in(_BLOCKS, attn1="joint_attn", attn2="cross_attn", ff="ffn"),
    ),
    # Two streams in one block: what the sound's stream computes is audio, whatever it attends to.
    Family(
        classes=("LTX2VideoTransformer3DModel",),
        rules=_in(
            _BLOCKS,
            attn1="joint_attn",
            attn2="cross_attn",
            audio_to_video_attn="cross_attn",
            ff="ffn",
            audio_attn1="audio",
            audio_attn2="audio",
            video_to_audio_attn="audio",
            audio_ff="audio",
        ),
        model="LTX2",
    ),
    Family(
        classes=(
            "WanTransformer3DModel",
            "WanVACETransformer3DModel",
            "SkyReelsV2Transformer3DModel",
            "HeliosTransformer3DModel",
        ),
        rules=(
            *_in("blocks", attn1="joint_attn", attn2="cross_attn", ffn="ffn"),
            *_in("vace_blocks", attn1="joint_attn", attn2="cross_attn", ffn="ffn"),
        ),
    ),
    Family(classes=("CogVideoXTransformer3DModel",), rules=_in(_BLOCKS, attn1="joint_attn", ff="ffn")),
    Family(
        classes=("HunyuanVideoTransformer3DModel", "HunyuanVideoFramepackTransformer3DModel"),
        rules=(
            *_in(_BLOCKS, attn="joint_attn", ff="ffn", ff_context="ffn"),
            # Attention and feed-forward side by side: the way in is a module, the way out is shared.
            *_in("single_transformer_blocks", attn="joint_attn", proj_mlp="ffn"),
        ),
    ),
    Family(
        classes=("HunyuanVideo15Transformer3DModel",),
        rules=_in(_BLOCKS, attn="joint_attn", ff="ffn", ff_context="ffn"),
    ),
    Family(
        classes=("AllegroTransformer3DModel", "CosmosTransformer3DModel"),
        rules=_in(_BLOCKS, attn1="joint_attn", attn2="cross_attn", ff="ffn"),
    ),
    # AnimateDiff: an image model's blocks, and motion modules whose second attention is temporal as well.
    Family(
        classes=("UNetMotionModel",),
        rules=(
            *_in("**.motion_modules.*.transformer_blocks", attn1="temporal_attn", attn2="temporal_attn", ff="ffn"),
            *_in("**.attentions.*.transformer_blocks", attn1="spatial_attn", attn2="cross_attn", ff="ffn"),
        ),
    ),
    # Open-Sora's own package, 1.x: blocks that see (batch x time, space) and (batch x space, time).
    Family(
        classes=("STDiT3",),
        rules=(
            *_in("spatial_blocks", attn="spatial_attn", cross_attn="cross_attn", mlp="ffn"),
            *_in("temporal_blocks", attn="temporal_attn", cross_attn="cross_attn", mlp="ffn"),
        ),
        model="OPENSORA",
    ),
    # 2.x: text and picture in one attention, whose parts the blocks call one by one; what a block does besides its
    # feed-forward is counted as attention. The later blocks compute both in the same matrix products: all of one is.
    Family(
        classes=("MMDiTModel",),
        rules=(
            Rule("double_blocks.*", "joint_attn", around=True),
            *_in("double_blocks", img_mlp="ffn", txt_mlp="ffn"),
            Rule("single_blocks.*", "joint_attn"),
        ),
        model="OPENSORA",
    ),
)  # fmt: skip
