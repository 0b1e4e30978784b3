"""Trains the small LTX2 checkpoint, picture and sound: `python -m training.ltx2 --out DIR`.

A 3D VAE (four frames and 16x16 pixels to a latent), an audio VAE and a vocoder, a Gemma 3 encoder with connectors, and
a transformer of two streams that look at each other, in the folder format of diffusers' LTX2Pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from training import clips, ltx2_sound, package, painting, principal, run, spectra, text, world

if TYPE_CHECKING:
    from pathlib import Path

SIZE, FRAMES, FPS = 64, 25, 12
CHANNELS = 32
PLACES, LATENT_FRAMES = SIZE // 16, (FRAMES - 1) // 4 + 1
VAE_STEPS = 2400  # of each process


def make_vae() -> Any:
    """A causal 3D VAE; of the real one's four stages the last does not make its latents smaller."""
    from diffusers import AutoencoderKLLTX2Video

    return AutoencoderKLLTX2Video(
        latent_channels=CHANNELS,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, False),
        decoder_block_out_channels=(48, 48, 48),
        decoder_layers_per_block=(1, 1, 1, 1),
        downsample_type=("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
        upsample_type=("spatial", "temporal", "spatiotemporal"),
        upsample_factor=(1, 1, 1),
        decoder_spatial_padding_mode="zeros",
        spatial_compression_ratio=16,
        temporal_compression_ratio=4,
    )


def train_vae(out: Path) -> Any:
    """The VAE alone, on short pieces of clips."""
    torch.manual_seed(run.SEED)
    vae = make_vae()

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, noise = run.step_rng(7, step)
        count, frames = (6, 9) if step % 3 else (2, FRAMES)
        pieces = []
        for _ in range(count):
            first = rng.uniform(0, 1 - (frames - 1) / (FRAMES - 1))
            times = (first + np.arange(frames) / (FRAMES - 1)).astype(np.float32)
            pieces.append(painting.render(_scene(int(rng.integers(2**40))), SIZE, times=times))
        pixels = torch.from_numpy(np.stack(pieces)).permute(0, 4, 1, 2, 3) * 2 - 1
        with run.half():
            posterior = vae.encode(pixels).latent_dist
            mean, spread = posterior.mean.float(), posterior.std.float()
            drawn = vae.decode(mean + spread * torch.randn(mean.shape, generator=noise)).sample.float()
        error = drawn - pixels
        square = error.square().mean()
        divergence = 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).mean()
        loss = error.abs().mean() + 4 * square + 2e-4 * divergence
        return loss, {"psnr": float(10 * torch.log10(4 / square.detach())), "kl": float(divergence.detach())}

    run.Training("vae", out, {"vae": vae}, loss_of, VAE_STEPS, rate=1.5e-3, decay=0.995).run()
    return vae.eval()


def _scene(seed: int) -> world.Scene:
    return world.bouncing_scene(seed) if seed % 4 == 0 else world.scene(seed)


@torch.no_grad()
def whiten(vae: Any) -> None:
    """Turn the latents to their principal components (see `principal`); their means go where the pipeline looks."""
    means = []
    for seed in range(48):
        pixels = torch.from_numpy(painting.render(_scene(2**41 + seed), SIZE, FRAMES)).permute(3, 0, 1, 2)
        means.append(vae.encode(pixels[None] * 2 - 1).latent_dist.mean)
    turn = principal.turn(torch.cat(means))
    made, read = vae.encoder.conv_out.conv, vae.decoder.conv_in.conv
    made.weight[:CHANNELS] = torch.einsum("ij,j...->i...", turn.there, made.weight[:CHANNELS])
    made.bias[:CHANNELS] = turn.there @ made.bias[:CHANNELS]
    read.weight.copy_(torch.einsum("oi...,ij->oj...", read.weight, turn.back))
    vae.latents_mean.copy_(turn.there @ turn.mean)
    vae.latents_std.fill_(1.0)


# The transformer

TEXT_WIDTH, TEXT_LENGTH, TEXT_LAYERS = 96, 64, 2
STEPS, BATCH = 6000, 16  # the batch is each process's
CLIPS_FIRST, CLIPS = 512, 4096  # each process's; one more with every step
FOCUS = 0.75  # the share of plain clips, half of which bounce
SOUND_SHARE = 0.5  # the weight of the sound's loss


def make_transformer() -> Any:
    """Two streams, the picture's twice as wide as the sound's; positions count within the small clip."""
    from diffusers import LTX2VideoTransformer3DModel

    return LTX2VideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=4,
        attention_head_dim=32,
        cross_attention_dim=128,
        vae_scale_factors=(4, 16, 16),
        pos_embed_max_pos=4,
        base_height=SIZE,
        base_width=SIZE,
        audio_in_channels=ltx2_sound.CHANNELS * spectra.BINS // 4,
        audio_out_channels=ltx2_sound.CHANNELS * spectra.BINS // 4,
        audio_num_attention_heads=4,
        audio_attention_head_dim=16,
        audio_cross_attention_dim=64,
        audio_pos_embed_max_pos=4,
        num_layers=4,
        caption_channels=TEXT_WIDTH,
        rope_theta=100.0,
        rope_double_precision=False,
    )


def make_connectors() -> Any:
    """What stands between the language model and the two streams."""
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    return LTX2TextConnectors(
        caption_channels=TEXT_WIDTH,
        text_proj_in_factor=TEXT_LAYERS + 1,
        video_connector_num_attention_heads=4,
        video_connector_attention_head_dim=TEXT_WIDTH // 4,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=TEXT_LENGTH,
        audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=TEXT_WIDTH // 4,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=TEXT_LENGTH,
        connector_rope_base_seq_len=TEXT_LENGTH,
        rope_theta=100.0,
        rope_double_precision=False,
    )


def make_scheduler() -> Any:
    """Flow matching; two thirds of the steps in the noisier half of the way, whatever the clip's size."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.7, max_shift=0.7)


class Drawer(nn.Module):
    """Text encoder, connectors and transformer as one: from noisy latents and tokens to two velocities."""

    def __init__(self, encoder: Any, connectors: Any, transformer: Any) -> None:
        super().__init__()
        self.encoder, self.connectors, self.transformer = encoder, connectors, transformer

    def forward(
        self,
        video: torch.Tensor,
        sound: torch.Tensor,
        time: torch.Tensor,
        ids: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # The language model's own layers without its head, which costs the most and which nobody reads.
        made = self.encoder.model.language_model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        words, sound_words, words_mask = self.connectors(
            torch.stack(made, dim=-1).flatten(2, 3), mask, padding_side="left"
        )
        result: tuple[torch.Tensor, torch.Tensor] = self.transformer(
            hidden_states=video,
            audio_hidden_states=sound,
            encoder_hidden_states=words,
            audio_encoder_hidden_states=sound_words,
            timestep=time,
            sigma=time,
            encoder_attention_mask=words_mask,
            audio_encoder_attention_mask=words_mask,
            num_frames=LATENT_FRAMES,
            height=PLACES,
            width=PLACES,
            fps=FPS,
            audio_num_frames=ltx2_sound.LATENTS,
            return_dict=False,
        )
        return result


VIDEO_NUMBERS = CHANNELS * LATENT_FRAMES * PLACES * PLACES
SOUND_WIDTH = ltx2_sound.CHANNELS * spectra.BINS // 4


def unpacked(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What `Clips` keeps, (n, numbers), as tokens of the picture and of the sound, as the pipeline orders them."""
    video = latents[:, :VIDEO_NUMBERS].view(-1, CHANNELS, LATENT_FRAMES * PLACES * PLACES).transpose(1, 2)
    return video, latents[:, VIDEO_NUMBERS:].view(-1, ltx2_sound.LATENTS, SOUND_WIDTH)


def train_transformer(out: Path, vae: Any, audio_vae: Any) -> tuple[Any, Any]:
    """Text encoder, connectors and transformer together, on latents. Returns the tokenizer and the three."""
    torch.manual_seed(run.SEED + 5)
    tokenizer, encoder = text.gemma(TEXT_WIDTH, TEXT_LENGTH, TEXT_LAYERS)
    drawer = Drawer(encoder, make_connectors(), make_transformer())
    compiled = torch.compile(drawer) if run.COMPILE else drawer

    @torch.no_grad()
    def encode(scenes: list[world.Scene]) -> torch.Tensor:
        made = []
        for scene in scenes:
            pixels = torch.from_numpy(painting.render(scene, SIZE, FRAMES)).permute(3, 0, 1, 2)[None] * 2 - 1
            with run.half():
                video = vae.encode(pixels).latent_dist.mean.float()
                sound = audio_vae.encode(
                    spectra.spectra(ltx2_sound.wave(scene)[None])
                ).latent_dist.mean.float()
            video = video - vae.latents_mean.view(1, -1, 1, 1, 1)
            tokens = sound.transpose(1, 2).flatten(2)
            tokens = (tokens - audio_vae.latents_mean) / audio_vae.latents_std
            made.append(torch.cat([video.flatten(), tokens.flatten()]))
        return torch.stack(made)

    shape = (VIDEO_NUMBERS + ltx2_sound.LATENTS * SOUND_WIDTH,)
    data = clips.Clips(out, CLIPS, shape, encode, reversible=False, plainest=ltx2_sound.scene)

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng, noise_rng = run.step_rng(8, step)
        available = CLIPS_FIRST + step // 16 * 16
        data.grow(available)
        latents, said = data.batch(rng, BATCH, available, FOCUS)
        given = tokenizer(
            [one or "" for one in said],
            padding="max_length",
            max_length=TEXT_LENGTH,
            truncation=True,
            return_tensors="pt",
        )
        noise = torch.randn(latents.shape, generator=noise_rng)
        even = (torch.arange(BATCH) + torch.rand(BATCH, generator=noise_rng)) / BATCH
        time = 3 * even / (1 + 2 * even)  # what the text decides is decided in the noise
        share = time[:, None]
        video, sound = unpacked((1 - share) * latents + share * noise)
        wanted_video, wanted_sound = unpacked(noise - latents)
        with run.half(), sdpa_kernel(SDPBackend.MATH):
            made_video, made_sound = compiled(
                video, sound, time * 1000, given.input_ids, given.attention_mask
            )
        seen = functional.mse_loss(made_video.float(), wanted_video)
        heard = functional.mse_loss(made_sound.float(), wanted_sound)
        return seen + SOUND_SHARE * heard, {"seen": float(seen.detach()), "heard": float(heard.detach())}

    # The part of the language model that looks at pictures, and its head, are never run.
    parts = {
        "transformer": drawer.transformer,
        "connectors": drawer.connectors,
        "encoder": encoder.model.language_model,
    }
    run.Training("transformer", out, parts, loss_of, STEPS, rate=2e-3, muon=True, warmup=200).run()
    return tokenizer, drawer.eval()


def assemble(vae: Any, audio_vae: Any, vocoder: Any, tokenizer: Any, drawer: Any) -> Any:
    """The whole as diffusers' pipeline."""
    from diffusers import LTX2Pipeline

    return LTX2Pipeline(
        scheduler=make_scheduler(),
        vae=vae,
        audio_vae=audio_vae,
        text_encoder=drawer.encoder,
        tokenizer=tokenizer,
        connectors=drawer.connectors,
        transformer=drawer.transformer,
        vocoder=vocoder,
    )


def first(out: Path) -> None:
    """The parts that stand alone, in each of the processes."""
    train_vae(out)
    audio_vae = ltx2_sound.train_vae(out)
    ltx2_sound.train_vocoder(out, audio_vae)


def task(out: Path) -> None:
    """One process of the transformer's training; the first one packages."""
    vae = train_vae(out)  # finished: taken up and ended at once
    whiten(vae)
    audio_vae = ltx2_sound.train_vae(out)
    vocoder = ltx2_sound.train_vocoder(out, audio_vae)
    tokenizer, drawer = train_transformer(out, vae, audio_vae)
    if run.rank() == 0:
        steps = {
            "vae": VAE_STEPS,
            "audio_vae": ltx2_sound.VAE_STEPS,
            "vocoder": ltx2_sound.VOCODER_STEPS,
            "transformer": STEPS,
        }
        pipe = assemble(vae, audio_vae, vocoder, tokenizer, drawer)
        package.package(pipe, "LTX2", 1, run.facts(steps), out / "ltx2")


if __name__ == "__main__":
    arguments = run.arguments(__doc__)
    run.together(arguments.processes, first, arguments.out)
    run.together(arguments.processes, task, arguments.out)
