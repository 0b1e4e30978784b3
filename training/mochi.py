"""Trains the small MOCHI1 checkpoint: `python -m training.mochi --out DIR`.

A 3D VAE (six frames and 8x8 pixels to a latent), a T5 encoder and a Mochi transformer (joint attention over space,
time and text), in the folder format of diffusers' MochiPipeline.
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

SIZE, FRAMES = 64, 25
CHANNELS = 12
VAE_STEPS = 1600  # of each process


def make_vae() -> Any:
    """A causal 3D VAE; the pipeline fixes its channels and its factors."""
    from diffusers import AutoencoderKLMochi

    return AutoencoderKLMochi(
        latent_channels=CHANNELS,
        out_channels=3,
        encoder_block_out_channels=(32, 32, 64, 64),
        decoder_block_out_channels=(32, 32, 64, 64),
        layers_per_block=(1,) * 5,
        latents_mean=(0.0,) * CHANNELS,
        latents_std=(1.0,) * CHANNELS,
    )


def importance(pixels: torch.Tensor) -> torch.Tensor:
    """Weights of mean 1: what is not the clip's commonest brightness, mostly things, counts four times as much."""
    usual = pixels.flatten(2).median(dim=2).values[:, :, None, None, None]
    weight = 1 + 3 * ((pixels - usual).abs().amax(dim=1, keepdim=True) > 0.2).float()
    return weight / weight.mean()


def train_vae(out: Path) -> Any:
    """The VAE alone, on short pieces of clips."""
    torch.manual_seed(run.SEED)
    vae = make_vae()

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, noise = run.step_rng(2, step)
        count, frames = (2, 7) if step % 3 else (1, 13)
        pieces = []
        for _ in range(count):
            first = rng.uniform(0, 1 - (frames - 1) / (FRAMES - 1))
            times = (first + np.arange(frames) / (FRAMES - 1)).astype(np.float32)
            pieces.append(painting.render(world.scene(int(rng.integers(2**40))), SIZE, times=times))
        pixels = torch.from_numpy(np.stack(pieces)).permute(0, 4, 1, 2, 3) * 2 - 1
        with run.half():
            posterior = vae.encode(pixels).latent_dist
            mean, spread = posterior.mean.float(), posterior.std.float()
            latents = mean + spread * torch.randn(mean.shape, generator=noise)
            drawn = vae.decode(latents).sample.float()
        error = drawn - pixels
        square = error.square().mean()
        weight = importance(pixels)
        divergence = 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).mean()
        loss = (weight * error.abs()).mean() + 4 * (weight * error.square()).mean() + 2e-4 * divergence
        return loss, {"psnr": float(10 * torch.log10(4 / square.detach())), "kl": float(divergence.detach())}

    run.Training("vae", out, {"vae": vae}, loss_of, VAE_STEPS, rate=1.5e-3, decay=0.995).run()
    return vae.eval()


# The transformer

TEXT_WIDTH, TEXT_LENGTH = 96, 256
STEPS, BATCH = 5000, 16  # the batch is each process's
CLIPS_FIRST, CLIPS = 512, 3072  # each process's; one more with every step
FOCUS = 0.75  # the share of plain clips: what most prompts ask for
LATENT_FRAMES = (FRAMES - 1) // 6 + 1


def make_transformer() -> Any:
    """Joint attention over all places, times and words; its learned frequencies begin random, zero is no position."""
    from diffusers import MochiTransformer3DModel

    transformer = MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=4,
        attention_head_dim=32,
        num_layers=6,
        pooled_projection_dim=64,
        in_channels=CHANNELS,
        text_embed_dim=TEXT_WIDTH,
        time_embed_dim=128,
        activation_fn="swiglu",
        max_sequence_length=TEXT_LENGTH,
    )
    with torch.no_grad():
        # Neighbours in time lie 1 apart, in space 48 (192 / 4 patches).
        step = torch.tensor([1.0, 48.0, 48.0]).view(3, 1, 1)
        transformer.pos_frequencies.copy_(torch.randn(transformer.pos_frequencies.shape) * 0.8 / step)
    return transformer


def make_scheduler() -> Any:
    """Flow matching from noise at time 1000 to pictures at 0.

    The pipeline takes half of its steps between noise and 97.5 % noise; this shift has them reach down to 80 %.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=0.1)


class Joint:
    """The joint attention of a whole batch in one call, with a bias where a caption has no words left.

    The library's own goes through the samples one by one; what it computes for places and words is the same.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        def heads(one: torch.Tensor) -> torch.Tensor:
            return one.unflatten(2, (attn.heads, -1))

        def turned(one: torch.Tensor) -> torch.Tensor:
            cos, sin = image_rotary_emb
            even, odd = one[..., 0::2].float(), one[..., 1::2].float()
            return (
                torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
                .flatten(-2)
                .to(one.dtype)
            )

        places = hidden_states.shape[1]
        query = turned(attn.norm_q(heads(attn.to_q(hidden_states))))
        key = turned(attn.norm_k(heads(attn.to_k(hidden_states))))
        value = heads(attn.to_v(hidden_states))
        word_query = attn.norm_added_q(heads(attn.add_q_proj(encoder_hidden_states)))
        word_key = attn.norm_added_k(heads(attn.add_k_proj(encoder_hidden_states)))
        word_value = heads(attn.add_v_proj(encoder_hidden_states))
        pairs = ((query, word_query), (key, word_key), (value, word_value))
        query, key, value = (torch.cat([one.to(two.dtype), two], dim=1).transpose(1, 2) for one, two in pairs)
        bias = functional.pad((1 - attention_mask.to(query.dtype)) * -1e4, (places, 0))
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias[:, None, None])
        mixed = mixed.transpose(1, 2).flatten(2, 3)
        video: torch.Tensor = attn.to_out[0](mixed[:, :places])
        return video, None if attn.context_pre_only else attn.to_add_out(mixed[:, places:])


@torch.no_grad()
def whiten(vae: Any) -> None:
    """Turn the latents to their principal components (see `principal`), in the layers that make and read them.

    Those that make them have no bias, so the mean goes into the config, where the pipeline looks for it.
    """
    means = []
    for seed in range(48):
        pixels = torch.from_numpy(painting.render(world.scene(2**41 + seed), SIZE, FRAMES)).permute(
            3, 0, 1, 2
        )
        means.append(vae.encode(pixels[None] * 2 - 1).latent_dist.mean)
    turn = principal.turn(torch.cat(means))
    made, read = vae.encoder.proj_out, vae.decoder.conv_in
    made.weight[:CHANNELS] = turn.there @ made.weight[:CHANNELS]
    read.weight.copy_((read.weight[:, :, 0, 0, 0] @ turn.back)[..., None, None, None])
    vae.register_to_config(
        scaling_factor=1.0,
        latents_mean=[float(one) for one in turn.there @ turn.mean],
        latents_std=[1.0] * CHANNELS,
    )


def train_transformer(out: Path, vae: Any) -> tuple[Any, Any, Any]:
    """Text encoder and transformer together, on latents. Returns them with the tokenizer."""
    torch.manual_seed(run.SEED + 2)
    tokenizer, encoder = text.t5(TEXT_WIDTH, TEXT_LENGTH)
    transformer = make_transformer()
    compiled = torch.compile(transformer) if run.COMPILE else transformer
    usual = [block.attn1.processor for block in transformer.transformer_blocks]
    for block in transformer.transformer_blocks:
        block.attn1.processor = Joint()
    mean, spread = (
        torch.tensor(one).view(1, -1, 1, 1, 1) for one in (vae.config.latents_mean, vae.config.latents_std)
    )

    @torch.no_grad()
    def encode(scenes: list[world.Scene]) -> torch.Tensor:
        made = []
        for scene in scenes:
            pixels = torch.from_numpy(painting.render(scene, SIZE, FRAMES)).permute(3, 0, 1, 2)[None] * 2 - 1
            with run.half():
                made.append(vae.encode(pixels).latent_dist.mean.float())
        return (torch.cat(made) - mean) / spread

    shape = (CHANNELS, LATENT_FRAMES, SIZE // 8, SIZE // 8)
    data = clips.Clips(out, CLIPS, shape, encode, reversible=False)

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, noise_rng = run.step_rng(4, step)
        available = CLIPS_FIRST + step // 16 * 16
        data.grow(available)
        clean, said = data.batch(rng, BATCH, available, FOCUS)
        ids, mask = text.tokens(tokenizer, said)
        noise = torch.randn(clean.shape, generator=noise_rng)
        even = (torch.arange(BATCH) + torch.rand(BATCH, generator=noise_rng)) / BATCH
        time = 3 * even / (1 + 2 * even)  # what the text decides is decided in the noise
        share = time.view(-1, 1, 1, 1, 1)
        noisy = (1 - share) * clean + share * noise
        with run.half(), sdpa_kernel(SDPBackend.MATH):
            words = encoder(ids, attention_mask=mask)[0]
            predicted = compiled(
                noisy, words, timestep=time * 1000, encoder_attention_mask=mask.bool(), return_dict=False
            )[0]
        return functional.mse_loss(predicted.float(), noise - clean), {}

    both = {"transformer": transformer, "encoder": encoder}
    run.Training("transformer", out, both, loss_of, STEPS, rate=2e-3, muon=True, warmup=200).run()
    for block, processor in zip(transformer.transformer_blocks, usual, strict=True):
        block.attn1.processor = processor
    return tokenizer, encoder.eval(), transformer.eval()


def assemble(vae: Any, tokenizer: Any, encoder: Any, transformer: Any) -> Any:
    """The whole as diffusers' pipeline."""
    from diffusers import MochiPipeline

    return MochiPipeline(
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
        package.package(assemble(vae, *parts), "MOCHI1", 1, run.facts(steps), out / "mochi1")


if __name__ == "__main__":
    given = run.arguments(__doc__)
    run.together(given.processes, train_vae, given.out)
    run.together(given.processes, task, given.out)
