"""Trains the small OPENSORA checkpoint: `python -m training.opensora --out DIR`.

An image VAE, a T5 encoder and a Latte transformer (spatial and temporal blocks in turn), in the folder format of
diffusers' LattePipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from training import run, world

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
            world.render(world.scene(int(rng.integers(2**40))), SIZE, times=rng.random(1, dtype=np.float32))[0]
            for _ in range(VAE_BATCH)
        ]
        pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2) * 2 - 1
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            mean, spread = posterior.mean.float(), posterior.std.float()
            latents = mean + spread * torch.randn(mean.shape, generator=noise)
            drawn = vae.decode(latents).sample.float()
        error = drawn - pixels
        square = error.square().mean()
        divergence = 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).mean()
        loss = functional.l1_loss(drawn, pixels) + 4 * square + 2e-4 * divergence
        return loss, {"psnr": float(10 * torch.log10(4 / square.detach())), "kl": float(divergence.detach())}

    run.train("vae", out, {"vae": vae}, loss_of, steps=VAE_STEPS, rate=1.5e-3, decay=0.995)
    return vae.eval()
