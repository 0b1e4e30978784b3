"""A network of each family, with random weights and inputs, so wide that its modules take milliseconds on a CPU.

A module must take much longer than a profiler's range around it, or the range is what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed_allegro

__all__ = ["NETWORKS"]

_HEADS = {"num_attention_heads": 8, "attention_head_dim": 32}
_WIDTH = 256
_TEXT = 64  # tokens, and channels of each
_STEP = torch.tensor([500])

Made = tuple[Any, dict[str, Any]]


def _text(**more: Any) -> dict[str, Any]:
    return {"encoder_hidden_states": torch.randn(1, _TEXT, _TEXT), "timestep": _STEP, **more}


def _latte() -> Made:
    network = diffusers.LatteTransformer3DModel(
        sample_size=32,
        num_layers=4,
        patch_size=2,
        caption_channels=_TEXT,
        in_channels=4,
        cross_attention_dim=_WIDTH,
        out_channels=8,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        video_length=8,
        **_HEADS,
    )
    return network, _text(hidden_states=torch.randn(1, 4, 8, 32, 32))


def _ltx() -> Made:
    network = diffusers.LTXVideoTransformer3DModel(
        in_channels=16,
        out_channels=16,
        cross_attention_dim=_WIDTH,
        num_layers=4,
        caption_channels=_TEXT,
        **_HEADS,
    )
    inputs = _text(hidden_states=torch.randn(1, 4 * 16 * 16, 16), encoder_attention_mask=torch.ones(1, _TEXT))
    return network, inputs | {"num_frames": 4, "height": 16, "width": 16}


def _ltx2() -> Made:
    network = diffusers.LTX2VideoTransformer3DModel(
        in_channels=16,
        out_channels=16,
        cross_attention_dim=_WIDTH,
        audio_in_channels=16,
        audio_out_channels=16,
        audio_num_attention_heads=8,
        audio_attention_head_dim=32,
        audio_cross_attention_dim=_WIDTH,
        num_layers=4,
        caption_channels=_TEXT,
        **_HEADS,
    )
    inputs = _text(
        hidden_states=torch.randn(1, 4 * 16 * 16, 16),
        audio_hidden_states=torch.randn(1, 512, 16),
        audio_encoder_hidden_states=torch.randn(1, _TEXT, _TEXT),
        encoder_attention_mask=torch.ones(1, _TEXT),
        audio_encoder_attention_mask=torch.ones(1, _TEXT),
    )
    return network, inputs | {"num_frames": 4, "height": 16, "width": 16, "audio_num_frames": 512}


def _wan() -> Made:
    network = diffusers.WanTransformer3DModel(
        text_dim=_TEXT, ffn_dim=1024, num_layers=4, rope_max_seq_len=64, **_HEADS
    )
    return network, _text(hidden_states=torch.randn(1, 16, 4, 32, 32))


def _skyreels() -> Made:
    network = diffusers.SkyReelsV2Transformer3DModel(
        text_dim=_TEXT, ffn_dim=1024, num_layers=4, rope_max_seq_len=64, **_HEADS
    )
    return network, _text(hidden_states=torch.randn(1, 16, 4, 32, 32))


def _helios() -> Made:
    network = diffusers.HeliosTransformer3DModel(
        text_dim=_TEXT, ffn_dim=1024, num_layers=4, rope_dim=(12, 10, 10), **_HEADS
    )
    return network, _text(hidden_states=torch.randn(1, 16, 4, 32, 32))


def _mochi() -> Made:
    network = diffusers.MochiTransformer3DModel(
        num_layers=4,
        pooled_projection_dim=128,
        text_embed_dim=_TEXT,
        time_embed_dim=64,
        max_sequence_length=_TEXT,
        **_HEADS,
    )
    mask = torch.ones(1, _TEXT, dtype=torch.bool)
    return network, _text(hidden_states=torch.randn(1, 12, 4, 32, 32), encoder_attention_mask=mask)


def _hunyuan() -> Made:
    network = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_layers=2,
        num_single_layers=3,
        num_refiner_layers=1,
        text_embed_dim=_TEXT,
        pooled_projection_dim=64,
        rope_axes_dim=(8, 12, 12),
        **_HEADS,
    )
    inputs = _text(
        hidden_states=torch.randn(1, 8, 4, 32, 32),
        encoder_attention_mask=torch.ones(1, _TEXT),
        pooled_projections=torch.randn(1, 64),
        guidance=torch.tensor([6000.0]),
    )
    return network, inputs


def _hunyuan15() -> Made:
    network = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=8,
        out_channels=8,
        num_layers=4,
        num_refiner_layers=1,
        text_embed_dim=_TEXT,
        text_embed_2_dim=_TEXT,
        image_embed_dim=_TEXT,
        rope_axes_dim=(8, 12, 12),
        **_HEADS,
    )
    inputs = _text(
        hidden_states=torch.randn(1, 8, 4, 16, 16),
        encoder_attention_mask=torch.ones(1, _TEXT),
        encoder_hidden_states_2=torch.randn(1, _TEXT, _TEXT),
        encoder_attention_mask_2=torch.ones(1, _TEXT),
        image_embeds=torch.zeros(1, _TEXT, _TEXT),
    )
    return network, inputs | {"timestep": torch.tensor([500.0])}


def _cogvideox() -> Made:
    network = diffusers.CogVideoXTransformer3DModel(
        in_channels=8,
        out_channels=8,
        text_embed_dim=_TEXT,
        num_layers=4,
        sample_width=32,
        sample_height=32,
        sample_frames=13,
        max_text_seq_length=_TEXT,
        **_HEADS,
    )
    return network, _text(hidden_states=torch.randn(1, 4, 8, 32, 32))


def _allegro() -> Made:
    network = diffusers.AllegroTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_layers=4,
        num_attention_heads=8,
        attention_head_dim=48,
        cross_attention_dim=384,
        sample_width=32,
        sample_height=32,
        sample_frames=4,
        caption_channels=_TEXT,
    )
    frequencies = get_3d_rotary_pos_embed_allegro(48, ((0, 0), (16, 16)), (16, 16), 4, (2.0, 2.0, 2.0))
    places = torch.cartesian_prod(*(grid.long() for grid in frequencies[3:]))
    rotary = (frequencies[:3], tuple(places.T.reshape(3, 1, -1).contiguous()))
    inputs = _text(hidden_states=torch.randn(1, 4, 4, 32, 32), encoder_attention_mask=torch.ones(1, _TEXT))
    return network, inputs | {"image_rotary_emb": rotary}


def _cosmos() -> Made:
    network = diffusers.CosmosTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_layers=4,
        text_embed_dim=_TEXT,
        adaln_lora_dim=16,
        max_size=(4, 32, 32),
        concat_padding_mask=False,
        extra_pos_embed_type=None,
        **_HEADS,
    )
    return network, _text(hidden_states=torch.randn(1, 4, 4, 32, 32))


def _animatediff() -> Made:
    network = diffusers.UNetMotionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
        block_out_channels=(_WIDTH // 2, _WIDTH // 2),
        layers_per_block=1,
        cross_attention_dim=_TEXT,
        num_attention_heads=8,
        motion_num_attention_heads=8,
    )
    inputs = _text(sample=torch.randn(1, 4, 4, 32, 32))
    return network, inputs | {"encoder_hidden_states": torch.randn(4, _TEXT, _TEXT)}


NETWORKS: dict[str, Callable[[], Made]] = {
    "Latte": _latte,
    "LTX": _ltx,
    "LTX2": _ltx2,
    "Wan": _wan,
    "SkyReels V2": _skyreels,
    "Helios": _helios,
    "Mochi": _mochi,
    "HunyuanVideo": _hunyuan,
    "HunyuanVideo 1.5": _hunyuan15,
    "CogVideoX": _cogvideox,
    "Allegro": _allegro,
    "Cosmos": _cosmos,
    "AnimateDiff": _animatediff,
}
