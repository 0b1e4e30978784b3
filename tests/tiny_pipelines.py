"""Tiny pipelines of every family with random weights, from configurations alone, and what their calls take.

Prompts are given as embeddings where the text encoders are not what is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.studio.models import small
from rushes.studio.models.offline import libraries

__all__ = ["BUILDERS", "STEPS", "Tiny", "wake"]

STEPS = 3


@dataclass(frozen=True)
class Tiny:
    """A pipeline, its call's arguments, the modules of each kind that one step runs, and its passes."""

    pipe: Any
    call: dict[str, Any]
    executed: dict[str, int]
    passes: int
    frames: int

    def run(self, **changed: Any) -> Any:
        import torch

        call = {
            "num_inference_steps": STEPS,
            "output_type": "pt",
            "return_dict": False,
            "generator": torch.Generator().manual_seed(1),
        }
        return self.pipe(**{**call, **self.call, **changed})[0]


def wake(module: Any) -> None:
    """Moves zero-initialised gates, which would hide mistakes."""
    import torch

    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)


def _text(length: int, width: int, *, mask: bool = False, negative: bool = True) -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(3)
    given = {"prompt_embeds": torch.randn(1, length, width, generator=generator)}
    if negative:
        given["negative_prompt_embeds"] = torch.randn(1, length, width, generator=generator)
    if mask:
        for name in list(given):
            prefix = name.removesuffix("prompt_embeds")
            given[f"{prefix}prompt_attention_mask"] = torch.ones(1, length, dtype=torch.int64)
    return given


def _mochi(root: Path) -> Tiny:
    diffusers, _ = libraries()
    pipe = diffusers.MochiPipeline.from_pretrained(str(small.build("MOCHI1", root)))
    call = {"prompt": "a cat", "num_frames": 7, "height": 32, "width": 32}
    return Tiny(pipe, call, {"joint_attn": 4, "ffn": 7}, 1, 7)


def _latte(root: Path) -> Tiny:
    diffusers, _ = libraries()
    pipe = diffusers.LattePipeline.from_pretrained(str(small.build("OPENSORA", root)))
    call = {"prompt": "a cat", "video_length": 16, "height": 32, "width": 32, "clean_caption": False}
    return Tiny(pipe, call, {"spatial_attn": 4, "temporal_attn": 4, "cross_attn": 4, "ffn": 8}, 1, 16)


def _ltx2(root: Path) -> Tiny:
    diffusers, _ = libraries()
    pipe = diffusers.LTX2Pipeline.from_pretrained(str(small.build("LTX2", root)))
    call = {
        "prompt": "a cat",
        "num_frames": 9,
        "frame_rate": 8.0,
        "height": 64,
        "width": 64,
        "spatio_temporal_guidance_blocks": [1],
    }
    # Three passes of four blocks; the last keeps sound and picture apart: no attention from one to the other.
    counts = {"joint_attn": 12, "cross_attn": 12 + 8, "ffn": 12, "audio": 36 + 8}
    return Tiny(pipe, call, counts, 3, 9)


def _ltx(_: Path) -> Tiny:
    diffusers, _transformers = libraries()
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=3,
        caption_channels=32,
    )
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    pipe = diffusers.LTXPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        text_encoder=None,
        tokenizer=None,
    )
    call = {"height": 32, "width": 32, "num_frames": 9, **_text(16, 32, mask=True)}
    return Tiny(pipe, call, {"joint_attn": 3, "cross_attn": 3, "ffn": 3}, 1, 9)


def _wan_vae(diffusers: Any) -> Any:
    return diffusers.AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )


def _wan(_: Path) -> Tiny:
    diffusers, _transformers = libraries()
    transformer = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=3,
        rope_max_seq_len=32,
    )
    pipe = diffusers.WanPipeline(
        transformer=transformer,
        vae=_wan_vae(diffusers),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder=None,
        tokenizer=None,
    )
    call = {"height": 16, "width": 16, "num_frames": 9, **_text(16, 32)}
    return Tiny(pipe, call, {"joint_attn": 6, "cross_attn": 6, "ffn": 6}, 2, 9)


def _hunyuan(_: Path) -> Tiny:
    import torch

    diffusers, _transformers = libraries()
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=2,
        num_single_layers=3,
        num_refiner_layers=1,
        patch_size=1,
        patch_size_t=1,
        guidance_embeds=True,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
    )
    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8,) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
    )
    pipe = diffusers.HunyuanVideoPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
    )
    call = {
        "height": 16,
        "width": 16,
        "num_frames": 9,
        "pooled_prompt_embeds": torch.ones(1, 8),
        **_text(16, 16, mask=True, negative=False),
    }
    # Two-stream blocks have a feed-forward for each stream, one-stream blocks a projection.
    return Tiny(pipe, call, {"joint_attn": 5, "ffn": 7}, 1, 9)


def _cogvideox(_: Path) -> Tiny:
    diffusers, _transformers = libraries()
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=3,
        sample_width=2,
        sample_height=2,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=16,
    )
    vae = diffusers.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8,) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    pipe = diffusers.CogVideoXPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=diffusers.DDIMScheduler(),
        text_encoder=None,
        tokenizer=None,
    )
    call = {"height": 16, "width": 16, "num_frames": 9, **_text(16, 32)}
    return Tiny(pipe, call, {"joint_attn": 3, "ffn": 3}, 1, 9)


def _allegro(_: Path) -> Tiny:
    diffusers, _transformers = libraries()
    transformer = diffusers.AllegroTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        cross_attention_dim=24,
        sample_width=8,
        sample_height=8,
        sample_frames=8,
        caption_channels=24,
    )
    vae = diffusers.AutoencoderKLAllegro(
        down_block_types=("AllegroDownBlock3D",) * 4,
        up_block_types=("AllegroUpBlock3D",) * 4,
        block_out_channels=(8,) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    pipe = diffusers.AllegroPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=diffusers.DDIMScheduler(),
        text_encoder=None,
        tokenizer=None,
    )
    # It decodes in tiles of one size only: here of 8 frames and 16 x 16 pixels, which overlap by half of the width.
    vae.enable_tiling()
    vae.kernel, vae.stride = (8, 16, 16), (8, 8, 8)
    call = {"height": 16, "width": 32, "num_frames": 8, "negative_prompt": None, **_text(16, 24, mask=True)}
    return Tiny(pipe, call, {"joint_attn": 3, "cross_attn": 3, "ffn": 3}, 1, 8)


class _NoChecker:
    """Stands for Cosmos' guardrail models, which are another package."""

    def to(self, *_: Any) -> None:
        pass

    def check_text_safety(self, _: str) -> bool:
        return True

    def check_video_safety(self, video: Any) -> Any:
        return video


def _cosmos(_: Path) -> Tiny:
    diffusers, _transformers = libraries()
    transformer = diffusers.CosmosTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=3,
        mlp_ratio=2,
        text_embed_dim=32,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
        patch_size=(1, 2, 2),
        rope_scale=(2.0, 1.0, 1.0),
        concat_padding_mask=False,  # resizing the mask needs torchvision
        extra_pos_embed_type="learnable",
    )
    vae = diffusers.AutoencoderKLCosmos(
        latent_channels=4,
        encoder_block_out_channels=(8,) * 4,
        decode_block_out_channels=(8,) * 4,
        attention_resolutions=(8,),
        resolution=64,
        num_layers=2,
        patch_size=4,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
    )
    scheduler = diffusers.EDMEulerScheduler(sigma_schedule="karras", final_sigmas_type="sigma_min")
    pipe = diffusers.CosmosTextToWorldPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=scheduler,
        text_encoder=None,
        tokenizer=None,
        safety_checker=_NoChecker(),
    )
    call = {"height": 32, "width": 32, "num_frames": 9, **_text(16, 32)}
    return Tiny(pipe, call, {"joint_attn": 6, "cross_attn": 6, "ffn": 6}, 2, 9)


def _hunyuan15(_: Path) -> Tiny:
    import torch

    diffusers, _transformers = libraries()
    transformer = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=3,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        text_embed_dim=16,
        text_embed_2_dim=8,
        image_embed_dim=12,
        rope_axes_dim=(2, 2, 4),
        target_size=16,
        task_type="t2v",
    )
    vae = diffusers.AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
    )
    pipe = diffusers.HunyuanVideo15Pipeline(
        transformer=transformer,
        vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        guider=diffusers.ClassifierFreeGuidance(guidance_scale=6.0),
    )
    call: dict[str, Any] = {"height": 16, "width": 16, "num_frames": 9}
    generator = torch.Generator().manual_seed(3)
    for prefix in ("", "negative_"):
        for suffix, width in (("", 16), ("_2", 8)):
            call[f"{prefix}prompt_embeds{suffix}"] = torch.randn(1, 16, width, generator=generator)
            call[f"{prefix}prompt_embeds_mask{suffix}"] = torch.ones(1, 16)
    return Tiny(pipe, call, {"joint_attn": 6, "ffn": 12}, 2, 9)


def _skyreels(_: Path) -> Tiny:
    diffusers, _transformers = libraries()
    transformer = diffusers.SkyReelsV2Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=32,
        freq_dim=16,
        ffn_dim=32,
        num_layers=3,
        rope_max_seq_len=32,
        inject_sample_info=True,
    )
    pipe = diffusers.SkyReelsV2DiffusionForcingPipeline(
        transformer=transformer,
        vae=_wan_vae(diffusers),
        scheduler=diffusers.UniPCMultistepScheduler(flow_shift=8.0, use_flow_sigmas=True),
        text_encoder=None,
        tokenizer=None,
    )
    # Each frame of the latents has a copy of the scheduler of its own, whose steps make one.
    call = {"prompt": None, "height": 16, "width": 16, "num_frames": 9, **_text(16, 32)}
    return Tiny(pipe, call, {"joint_attn": 6, "cross_attn": 6, "ffn": 6}, 2, 9)


def _helios(_: Path) -> Tiny:
    diffusers, _transformers = libraries()
    transformer = diffusers.HeliosTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=32,
        freq_dim=16,
        ffn_dim=32,
        num_layers=3,
        rope_dim=(4, 4, 4),
    )
    pipe = diffusers.HeliosPipeline(
        transformer=transformer,
        vae=_wan_vae(diffusers),
        scheduler=diffusers.HeliosScheduler(stages=1, stage_range=[0, 1]),
        text_encoder=None,
        tokenizer=None,
    )
    # One chunk of 3 frames of latents.
    call = {"height": 32, "width": 32, "num_frames": 9, "num_latent_frames_per_chunk": 3, **_text(16, 32)}
    return Tiny(pipe, call, {"joint_attn": 6, "cross_attn": 6, "ffn": 6}, 2, 9)


def _animatediff(_: Path) -> Tiny:
    diffusers, _transformers = libraries()
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 8),
        layers_per_block=2,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        norm_num_groups=2,
    )
    motion = diffusers.MotionAdapter(
        block_out_channels=(8, 8),
        motion_layers_per_block=2,
        motion_norm_num_groups=2,
        motion_num_attention_heads=4,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
    )
    pipe = diffusers.AnimateDiffPipeline(
        unet=unet,
        motion_adapter=motion,
        vae=vae,
        scheduler=diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False),
        text_encoder=None,
        tokenizer=None,
    )
    call = {"height": 16, "width": 16, "num_frames": 4, "guidance_scale": 7.5, **_text(8, 8)}
    # Spatial transformers: 2 down, 1 middle, 3 up. Motion modules: one after each of 4 + 1 + 6 layers.
    kinds = {"spatial_attn": 6, "cross_attn": 6, "temporal_attn": 22, "ffn": 17}
    return Tiny(pipe, call, kinds, 1, 4)


BUILDERS: dict[str, Callable[[Path], Tiny]] = {
    "mochi": _mochi,
    "latte": _latte,
    "ltx2": _ltx2,
    "ltx": _ltx,
    "wan": _wan,
    "skyreels": _skyreels,
    "helios": _helios,
    "hunyuan": _hunyuan,
    "hunyuan15": _hunyuan15,
    "cogvideox": _cogvideox,
    "allegro": _allegro,
    "cosmos": _cosmos,
    "animatediff": _animatediff,
}
