"""Trains the small OPENSORA checkpoint: `python -m training.opensora --out DIR`.

An image VAE, a T5 encoder and a Latte transformer (spatial and temporal blocks in turn), in the folder format of
diffusers' LattePipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from training import clips, package, painting, principal, run, text, world

if TYPE_CHECKING:
    from pathlib import Path

SIZE, FRAMES = 64, 16
CHANNELS = 8
VAE_STEPS, VAE_BATCH = 2200, 12


def make_vae() -> Any:
    """An image VAE that makes 8x8 latents of 64x64 pixels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
    )


def train_vae(out: Path) -> Any:
    """The VAE alone, on single frames."""
    torch.manual_seed(run.SEED)
    vae = make_vae()

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, noise = run.step_rng(1, step)
        frames = [
            painting.render(
                world.scene(int(rng.integers(2**40))), SIZE, times=rng.random(1, dtype=np.float32)
            )[0]
            for _ in range(VAE_BATCH)
        ]
        pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2) * 2 - 1
        with run.half():
            posterior = vae.encode(pixels).latent_dist
            mean, spread = posterior.mean.float(), posterior.std.float()
            latents = mean + spread * torch.randn(mean.shape, generator=noise)
            drawn = vae.decode(latents).sample.float()
        error = drawn - pixels
        square = error.square().mean()
        divergence = 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).mean()
        loss = functional.l1_loss(drawn, pixels) + 4 * square + 2e-4 * divergence
        return loss, {"psnr": float(10 * torch.log10(4 / square.detach())), "kl": float(divergence.detach())}

    run.Training("vae", out, {"vae": vae}, loss_of, VAE_STEPS, rate=1.5e-3, decay=0.995).run()
    return vae.eval()


# The transformer

TEXT_WIDTH, TEXT_LENGTH = 96, 120
STEPS, BATCH = 7000, 16  # the batch is each process's
CLIPS_FIRST, CLIPS = 512, 6144  # each process's; one more with every step
FOCUS = 0.75  # the share of plain clips: what most prompts ask for


def make_transformer() -> Any:
    """Spatial and temporal blocks in turn; the pipeline wants twice the channels out, the second half is unused."""
    from diffusers import LatteTransformer3DModel

    return LatteTransformer3DModel(
        sample_size=SIZE // 8,
        num_layers=4,
        patch_size=2,
        attention_head_dim=32,
        num_attention_heads=4,
        caption_channels=TEXT_WIDTH,
        in_channels=CHANNELS,
        cross_attention_dim=128,
        out_channels=2 * CHANNELS,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        video_length=FRAMES,
    )


def make_scheduler() -> Any:
    """DDPM that predicts velocity and begins at pure noise.

    Each step adds new noise: what an earlier step got wrong is mended. After 3,685 training steps DDIM of 20 and 50
    steps had 70 and 77 of 100 clips right, this one of 50 steps 87.
    """
    from diffusers import DDPMScheduler

    return DDPMScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        variance_type="fixed_small",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )


@torch.no_grad()
def whiten(vae: Any) -> None:
    """Turn the latents to their principal components (see `principal`), in the 1x1 convolutions."""
    frames = np.concatenate([painting.render(world.scene(2**41 + seed), SIZE, 2) for seed in range(256)])
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) * 2 - 1
    turn = principal.turn(torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(64)]))
    into, out_of = vae.quant_conv, vae.post_quant_conv
    out_of.bias.add_(out_of.weight[:, :, 0, 0] @ turn.mean)
    out_of.weight.copy_((out_of.weight[:, :, 0, 0] @ turn.back)[..., None, None])
    weight, bias = into.weight[:CHANNELS, :, 0, 0].clone(), into.bias[:CHANNELS].clone()
    into.weight[:CHANNELS] = (turn.there @ weight)[..., None, None]
    into.bias[:CHANNELS] = turn.there @ (bias - turn.mean)
    vae.register_to_config(scaling_factor=1.0)


class SharedText:
    """Attention to the text where all frames of a clip share it: keys and values are computed once, not per frame."""

    def __init__(self, frames: int) -> None:
        self._frames = frames

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        many, patches, width = hidden_states.shape
        videos = many // self._frames
        text = encoder_hidden_states[:: self._frames]
        query, key, value = (
            one.view(videos, -1, attn.heads, width // attn.heads).transpose(1, 2)
            for one in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text))
        )
        mask = None if attention_mask is None else attention_mask[:, None].to(query.dtype)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(many, patches, width)
        result: torch.Tensor = attn.to_out[0](mixed)
        return result


def train_transformer(out: Path, vae: Any) -> tuple[Any, Any, Any]:
    """Text encoder and transformer together, on latents. Returns them with the tokenizer."""
    torch.manual_seed(run.SEED + 1)
    tokenizer, encoder = text.t5(TEXT_WIDTH, TEXT_LENGTH)
    transformer = make_transformer()
    compiled = torch.compile(transformer) if run.COMPILE else transformer
    shares = make_scheduler().alphas_cumprod
    plain_processors = {
        name: block.attn2.processor for name, block in enumerate(transformer.transformer_blocks)
    }
    for block in transformer.transformer_blocks:
        block.attn2.processor = SharedText(FRAMES)

    @torch.no_grad()
    def encode(scenes: list[world.Scene]) -> torch.Tensor:
        frames = np.concatenate([painting.render(scene, SIZE, FRAMES) for scene in scenes])
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) * 2 - 1
        with run.half():
            mean = torch.cat([vae.encode(part).latent_dist.mean.float() for part in pixels.split(32)])
        return mean.view(len(scenes), FRAMES, CHANNELS, SIZE // 8, SIZE // 8).transpose(1, 2)

    shape = (CHANNELS, FRAMES, SIZE // 8, SIZE // 8)
    data = clips.Clips(out, CLIPS, shape, encode, reversible=True)

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, noise_rng = run.step_rng(3, step)
        available = CLIPS_FIRST + step // 16 * 16
        data.grow(available)
        clean, said = data.batch(rng, BATCH, available, FOCUS)
        # The pipeline writes small letters only, and cuts the empty prompt's embedding, padding included, to the
        # length of the prompt: so without a caption a few of the padding's embeddings are read too.
        lowered = [None if one is None else one.lower() for one in said]
        ids, encoder_mask = text.tokens(tokenizer, lowered)
        text_mask = encoder_mask.clone()
        for index, one in enumerate(said):
            if one is None:
                text_mask[index, : int(rng.integers(5, 24))] = 1
        noise = torch.randn(clean.shape, generator=noise_rng)
        even = (torch.arange(BATCH) + torch.rand(BATCH, generator=noise_rng)) / BATCH
        times = (even**0.75 * 1000).long().clamp(0, 999)  # what the text decides is decided in the noise
        share = shares[times].view(-1, 1, 1, 1, 1)
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        target = share.sqrt() * noise - (1 - share).sqrt() * clean
        padded = rng.random() < 0.06  # a list of prompts: 120 tokens, zeros where there are none
        with run.half(), sdpa_kernel(SDPBackend.MATH):
            words = encoder(ids, attention_mask=encoder_mask)[0]
            words = functional.pad(words * text_mask[..., None], (0, 0, 0, 1))
            bias = functional.pad((1 - text_mask).float() * -1e4, (0, 1), value=-1e4)
            if padded:  # n zeros are read as one that weighs n times as much
                bias[:, -1] = (TEXT_LENGTH - text_mask.sum(dim=1)).log()
            predicted = compiled(
                noisy,
                times,
                encoder_hidden_states=words,
                encoder_attention_mask=bias[:, None],
                return_dict=False,
            )[0]
        loss = functional.mse_loss(predicted[:, :CHANNELS].float(), target)
        return loss, {}

    both = {"transformer": transformer, "encoder": encoder}
    run.Training("transformer", out, both, loss_of, STEPS, rate=2e-3, muon=True, warmup=200).run()
    for name, block in enumerate(transformer.transformer_blocks):
        block.attn2.processor = plain_processors[name]
    return tokenizer, encoder.eval(), transformer.eval()


def assemble(vae: Any, tokenizer: Any, encoder: Any, transformer: Any) -> Any:
    """The whole as diffusers' pipeline."""
    from diffusers import LattePipeline

    return LattePipeline(
        tokenizer=tokenizer,
        text_encoder=encoder,
        vae=vae,
        transformer=transformer,
        scheduler=make_scheduler(),
    )


def task(out: Path) -> None:
    """One process of the transformer's training; the first one packages."""
    vae = train_vae(out)  # finished: taken up and ended at once
    whiten(vae)
    parts = train_transformer(out, vae)
    if run.rank() == 0:
        steps = {"vae": VAE_STEPS, "transformer": STEPS}
        package.package(assemble(vae, *parts), "OPENSORA", 1, run.facts(steps), out / "opensora")


if __name__ == "__main__":
    given = run.arguments(__doc__)
    run.together(1, train_vae, given.out)
    run.together(given.processes, task, given.out)
