"""LTX2's sound: the audio VAE between mel spectra and latents, and the vocoder from spectra to a wave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from training import run, spectra, world

if TYPE_CHECKING:
    from pathlib import Path

LATENTS = 52  # the pipeline's count for 25 frames at 12 a second
TIMES = 4 * LATENTS - 3  # what the causal VAE makes of them
SAMPLES = (TIMES - 1) * spectra.HOP
SECONDS = 2.0  # from the first frame to the last
CHANNELS = 4
VAE_STEPS, VAE_BATCH = 1500, 8
VOCODER_STEPS, VOCODER_BATCH, VOCODER_TIMES = 3000, 8, 48


def scene(seed: int) -> world.Scene:
    """Every other one bounces, the rest moves: what makes a sound."""
    return world.bouncing_scene(seed) if seed % 2 else world.simple_scene(seed)


def wave(made: world.Scene) -> torch.Tensor:
    """A scene's sound as training hears it, (samples,)."""
    return torch.from_numpy(world.sound(made, SECONDS, spectra.RATE, SAMPLES))


def make_vae() -> Any:
    """A causal VAE of stereo spectra; four times fewer times and bins in its latents."""
    from diffusers import AutoencoderKLLTX2Audio

    return AutoencoderKLLTX2Audio(
        base_channels=CHANNELS
        * spectra.BINS
        // 4,  # the pipeline keeps a mean for each number of a latent time
        output_channels=2,
        ch_mult=(1, 1, 1),
        num_res_blocks=1,
        in_channels=2,
        resolution=spectra.BINS,
        latent_channels=CHANNELS,
        sample_rate=spectra.RATE,
        mel_hop_length=spectra.HOP,
        mel_bins=spectra.BINS,
    )


def make_vocoder() -> Any:
    """A vocoder of 160 samples a spectrum."""
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    return LTX2Vocoder(
        in_channels=2 * spectra.BINS,
        hidden_channels=96,
        out_channels=2,
        upsample_kernel_sizes=[16, 11, 8],
        upsample_factors=[8, 5, 4],
        resnet_kernel_sizes=[3, 7],
        resnet_dilations=[[1, 3, 5], [1, 3, 5]],
        output_sampling_rate=spectra.RATE,
    )


def train_vae(out: Path) -> Any:
    """The audio VAE, on whole clips' spectra. Its latents' means and deviations end in its buffers."""
    torch.manual_seed(run.SEED + 3)
    vae = make_vae()

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, noise = run.step_rng(5, step)
        given = spectra.spectra(
            torch.stack([wave(scene(int(rng.integers(2**40)))) for _ in range(VAE_BATCH)])
        )
        with run.half():
            posterior = vae.encode(given).latent_dist
            mean, spread = posterior.mean.float(), posterior.std.float()
            drawn = vae.decode(mean + spread * torch.randn(mean.shape, generator=noise)).sample.float()
        error = drawn - given
        divergence = 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).mean()
        loss = error.abs().mean() + 4 * error.square().mean() + 2e-4 * divergence
        return loss, {"square": float(error.detach().square().mean()), "kl": float(divergence.detach())}

    run.Training("audio_vae", out, {"vae": vae}, loss_of, VAE_STEPS, rate=1.5e-3, decay=0.995).run()
    vae.eval()
    with torch.no_grad():
        made = vae.encode(spectra.spectra(torch.stack([wave(scene(2**41 + one)) for one in range(256)])))
        flat = (
            made.latent_dist.mean.transpose(1, 2).flatten(2).flatten(0, 1)
        )  # (clips and times, channels x bins)
        vae.latents_mean.copy_(flat.mean(dim=0))
        vae.latents_std.copy_(flat.std(dim=0).clamp(min=0.1 * float(flat.std())))
    return vae


def train_vocoder(out: Path, vae: Any) -> Any:
    """The vocoder, on pieces of spectra as the VAE gives them back: those are what it will be handed."""
    torch.manual_seed(run.SEED + 4)
    vocoder = make_vocoder()

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, _ = run.step_rng(6, step)
        waves = torch.stack([wave(scene(int(rng.integers(2**40)))) for _ in range(VOCODER_BATCH)])
        given = spectra.spectra(waves)
        if step % 2:
            with torch.no_grad(), run.half():
                given = vae.decode(vae.encode(given).latent_dist.mean).sample.float()
        first = rng.integers(TIMES - VOCODER_TIMES, size=VOCODER_BATCH)
        pieces = torch.stack([given[n, :, at : at + VOCODER_TIMES] for n, at in enumerate(first)])
        wanted = torch.stack(
            [
                waves[n, at * spectra.HOP : (at + VOCODER_TIMES - 1) * spectra.HOP]
                for n, at in enumerate(first)
            ]
        )
        heard = vocoder(pieces)[:, :, : wanted.shape[1]]
        both = wanted[:, None].expand_as(heard)
        loss = spectra.distance(heard.flatten(0, 1), both.flatten(0, 1))
        # Where knocks are, not only how they sound; hums have no phase that could be known.
        loudness = [
            functional.avg_pool1d(one.square(), 160, 80).clamp(min=1e-6).sqrt() for one in (heard, both)
        ]
        return loss + 4 * functional.l1_loss(*loudness), {}

    run.Training("vocoder", out, {"vocoder": vocoder}, loss_of, VOCODER_STEPS, rate=1e-3, decay=0.998).run()
    return vocoder.eval()


def onsets(sound: Any, rate: int) -> list[float]:
    """When knocks begin in a sound (samples,), in seconds: where its loudness rises by more than half of the most."""
    hop = rate // 200
    trimmed = np.asarray(sound, dtype=np.float64)[: len(sound) // hop * hop].reshape(-1, hop)
    loud = np.sqrt(np.square(trimmed).mean(axis=1))
    rise = np.maximum(0, loud[2:] - loud[:-2])
    if not len(rise) or rise.max() < 0.02:
        return []
    found: list[float] = []
    for at in np.flatnonzero(rise > 0.5 * rise.max()):
        when = (int(at) + 1) * hop / rate
        if not found or when - found[-1] > 0.1:
            found.append(when)
    return found
