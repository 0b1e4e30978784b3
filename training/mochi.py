"""Trains the small MOCHI1 checkpoint: `python -m training.mochi --out DIR`.

A 3D VAE (six frames and 8x8 pixels to a latent), a T5 encoder and a Mochi transformer (joint attention over space,
time and text), in the folder format of diffusers' MochiPipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from training import run, world

if TYPE_CHECKING:
    from pathlib import Path

SIZE, FRAMES = 64, 25
CHANNELS = 12
VAE_STEPS = 2400


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


def train_vae(out: Path) -> Any:
    """The VAE alone, on short pieces of clips."""
    torch.manual_seed(run.SEED)
    vae = make_vae()

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, noise = run.step_rng(2, step)
        clips, frames = (2, 7) if step % 3 else (1, 13)
        pieces = []
        for _ in range(clips):
            first = rng.uniform(0, 1 - (frames - 1) / (FRAMES - 1))
            times = (first + np.arange(frames) / (FRAMES - 1)).astype(np.float32)
            pieces.append(world.render(world.scene(int(rng.integers(2**40))), SIZE, times=times))
        pixels = torch.from_numpy(np.stack(pieces)).permute(0, 4, 1, 2, 3) * 2 - 1
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            mean, spread = posterior.mean.float(), posterior.std.float()
            latents = mean + spread * torch.randn(mean.shape, generator=noise)
            drawn = vae.decode(latents).sample.float()
        square = (drawn - pixels).square().mean()
        divergence = 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).mean()
        loss = functional.l1_loss(drawn, pixels) + 4 * square + 2e-4 * divergence
        return loss, {"psnr": float(10 * torch.log10(4 / square.detach())), "kl": float(divergence.detach())}

    run.train("vae", out, {"vae": vae}, loss_of, steps=VAE_STEPS, rate=1.5e-3, decay=0.995)
    return vae.eval()
