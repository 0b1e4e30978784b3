"""The networks of the small checkpoints: every kind of layer of the real ones, a few thousand parameters each.

Freshly initialised, much of a diffusion transformer is a no-op (gates and norms start at zero or one) and sound is
silence. So all parameters are moved off their starting values, and the last layers of the VAEs and the vocoder
are scaled until pictures have contrast and sound can be heard: a test against such a model can see a mistake
in any branch.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from rushes.studio.models.offline import libraries

if TYPE_CHECKING:
    from pathlib import Path

_SEED = 20_260
_TEXT_LENGTH = 256
_WIDTH = 32  # channels of the text encoders and transformers
_CHARACTERS = string.ascii_letters + string.digits + string.punctuation
_WORD_START = "\u2581"  # the metaspace mark of SentencePiece


def save(name: str, folder: Path) -> None:
    """Build the small checkpoint of `name` and save it into `folder`, leaving torch's own generator as it was."""
    libraries()
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_SEED)  # constructors draw from the global generator
        pipe = {"MOCHI1": _mochi, "LTX2": _ltx2, "OPENSORA": _latte}[name]()
        for offset, (_, component) in enumerate(sorted(pipe.components.items())):
            if isinstance(component, torch.nn.Module):
                _wake(component, _SEED + 1 + offset)
        _enliven(pipe)
    pipe.save_pretrained(str(folder))


def _wake(module: Any, seed: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)


def _t5() -> tuple[Any, Any]:
    _, transformers = libraries()
    # A unigram vocabulary as (piece, log-probability): special pieces, then single characters.
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), (_WORD_START, -2.0)]
    vocabulary += [(character, -4.0) for character in _CHARACTERS]
    tokenizer = transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0)
    tokenizer.model_max_length = _TEXT_LENGTH
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=_WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        pad_token_id=0,
        eos_token_id=1,
    )
    return tokenizer, transformers.T5EncoderModel(config).eval()


def _gemma(layers: int) -> tuple[Any, Any]:
    _, transformers = libraries()
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", _WORD_START, *_CHARACTERS]
    pieces += ["<image_soft_token>", "<start_of_image>", "<end_of_image>"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = transformers.GemmaTokenizer(vocab=vocabulary, merges=[])
    tokenizer.model_max_length = _TEXT_LENGTH
    tokenizer.padding_side = "left"
    config = transformers.Gemma3Config(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": _WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "sliding_window": 32,
            "max_position_embeddings": 2 * _TEXT_LENGTH,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
        image_token_index=vocabulary["<image_soft_token>"],
        boi_token_index=vocabulary["<start_of_image>"],
        eoi_token_index=vocabulary["<end_of_image>"],
    )
    return tokenizer, transformers.Gemma3ForConditionalGeneration(config).eval()


def _mochi() -> Any:
    diffusers, _ = libraries()
    tokenizer, text_encoder = _t5()
    transformer = diffusers.MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=4,
        pooled_projection_dim=16,
        in_channels=12,
        text_embed_dim=_WIDTH,
        time_embed_dim=8,
        activation_fn="swiglu",
        max_sequence_length=_TEXT_LENGTH,
    )
    vae = diffusers.AutoencoderKLMochi(
        latent_channels=12,
        out_channels=3,
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(32,) * 4,
        layers_per_block=(1,) * 5,
    )
    return diffusers.MochiPipeline(
        transformer=transformer,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    )


def _latte() -> Any:
    diffusers, _ = libraries()
    tokenizer, text_encoder = _t5()
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=8,
        num_layers=4,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=_WIDTH,
        in_channels=4,
        cross_attention_dim=_WIDTH,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        video_length=16,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(32,) * 4,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
    )
    scheduler = diffusers.DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False
    )
    return diffusers.LattePipeline(
        transformer=transformer,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
    )


def _ltx2() -> Any:
    diffusers, _ = libraries()
    layers = 2
    tokenizer, text_encoder = _gemma(layers)
    transformer = diffusers.LTX2VideoTransformer3DModel(
        in_channels=16,
        out_channels=16,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=_WIDTH,
        audio_in_channels=4,  # 2 latent channels x (8 mel bins / 4)
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=8,
        audio_cross_attention_dim=16,
        num_layers=4,
        caption_channels=_WIDTH,
        qk_norm="rms_norm_across_heads",
        rope_double_precision=False,
        perturbed_attn=True,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )
    return diffusers.LTX2Pipeline(
        transformer=transformer,
        connectors=_connectors(layers),
        **_ltx2_decoders(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
    )


def _connectors(layers: int) -> Any:
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    return LTX2TextConnectors(
        caption_channels=_WIDTH,
        text_proj_in_factor=layers + 1,
        video_connector_num_attention_heads=4,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=32,
        audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=32,
        connector_rope_base_seq_len=_TEXT_LENGTH,
        rope_theta=10000.0,
        rope_double_precision=False,
    )


def _ltx2_decoders() -> dict[str, Any]:
    import torch
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    diffusers, _ = libraries()
    vae = diffusers.AutoencoderKLLTX2Video(
        latent_channels=16,
        block_out_channels=(16,) * 4,
        decoder_block_out_channels=(16, 32, 64),
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 4,
        decoder_inject_noise=(False,) * 4,
        decoder_spatial_padding_mode="zeros",
        spatial_compression_ratio=32,  # what would be derived is wrong for three stages
        temporal_compression_ratio=8,
    )
    audio_vae = diffusers.AutoencoderKLLTX2Audio(
        base_channels=4,
        output_channels=2,
        ch_mult=(1, 2, 4),
        num_res_blocks=1,
        in_channels=2,
        resolution=16,
        latent_channels=2,
        mel_bins=8,
    )
    for model, channels in ((vae, 16), (audio_vae, 4)):
        model.latents_mean.copy_(torch.randn(channels) * 0.1)
        model.latents_std.copy_(torch.rand(channels) + 0.5)
    # 100 spectra a second, 240 samples each: sound as long as the picture, as in the real model.
    vocoder = LTX2Vocoder(
        in_channels=16,
        hidden_channels=_WIDTH,
        out_channels=2,
        upsample_kernel_sizes=[16, 12, 11],
        upsample_factors=[8, 6, 5],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=24000,
    )
    return {"vae": vae, "audio_vae": audio_vae, "vocoder": vocoder}


def _enliven(pipe: Any) -> None:
    """LTX2 alone needs it: text that reaches the picture, and sound that follows the latents.

    The vocoder gets no biases and no constant part, its spectra are wide, so that it is neither a steady hum nor
    silent nor clipped.
    """
    if getattr(pipe, "vocoder", None) is None:
        return
    for block in pipe.transformer.transformer_blocks:
        for attention in (block.attn2, block.audio_attn2):
            attention.norm_q.weight.mul_(2.0)
            attention.norm_k.weight.mul_(2.0)
            attention.to_v.weight.mul_(4.0)
            attention.to_out[0].weight.mul_(4.0)
    pipe.audio_vae.decoder.conv_out.conv.weight.mul_(10.0)
    for name, parameter in pipe.vocoder.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    last = pipe.vocoder.conv_out.weight
    last.sub_(last.mean(dim=-1, keepdim=True)).mul_(5.0)
