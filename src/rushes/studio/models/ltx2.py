"""LTX2: diffusers' LTX2Pipeline, video and audio denoised together.

The connectors belong to the text: what goes into them is every layer of the language model (hundreds of megabytes
a prompt in the real model), what comes out is what the transformer reads. So they run in the part "encode", and the
pipeline, which insists on calling them, is handed their result.
"""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from rushes.instrument import instrument
from rushes.studio.models.base import DiffusersBackend
from rushes.studio.models.offline import libraries
from rushes.studio.models.protocol import Audio

if TYPE_CHECKING:
    from rushes.studio.models.card import Picture, RenderRequest
    from rushes.studio.models.loop import Loop
    from rushes.studio.models.protocol import Latents

_CONNECTED = ("connector_prompt_embeds", "connector_audio_prompt_embeds", "connector_attention_mask")
# The pipeline's defaults, written down because guidance must be on for audio whatever the video's scale is:
# text was encoded for the guided and the unguided half together.
_AUDIO_GUIDANCE_SCALE = 7.0
_STG_BLOCK = 28


class _Connected:
    """Stands where the pipeline calls its connectors, and hands out what they made when the text was encoded."""

    def __init__(self, tensors: tuple[Any, ...]) -> None:
        self._tensors = tensors

    def __call__(self, *_: Any, **__: Any) -> tuple[Any, ...]:
        return self._tensors


class Ltx2Backend(DiffusersBackend):
    """See `protocol.Backend`."""

    encode_components = frozenset({"tokenizer", "text_encoder", "connectors", "processor", "prompt_enhancer"})
    max_tokens = 1024  # the pipeline's default max_sequence_length
    _with_picture: Any = None
    _sample_every: int | None = None

    def unload(self) -> None:
        """Let go of all parts and of their memory on the device."""
        self._with_picture = None
        super().unload()

    def instrument(self, *, sample_every: int) -> None:
        """See `protocol.Backend`."""
        self._sample_every = sample_every
        super().instrument(sample_every=sample_every)

    def _picture_pipeline(self) -> Any:
        """LTX2ImageToVideoPipeline over the same modules: it costs no memory of its own."""
        loaded = self.pipeline("generate")
        if self._with_picture is None:
            diffusers, _ = libraries()
            pipe = diffusers.LTX2ImageToVideoPipeline(**loaded.components)
            pipe.set_progress_bar_config(disable=True)
            if self._sample_every is not None:
                instrument(pipe, model=self.card.name, sample_every=self._sample_every)
            self._with_picture = pipe
        return self._with_picture

    def _picture(self, picture: Picture) -> dict[str, Any]:
        """The call's arguments for a picture. How hard it is compressed first depends on the text encoder, which is
        not loaded here.
        """
        import PIL.Image
        from diffusers.pipelines.ltx2.utils import resolve_default_image_crf

        config = SimpleNamespace(**self._weights.read("text_encoder/config.json"))
        with PIL.Image.open(io.BytesIO(picture.png), formats=["PNG"]) as image:
            image.load()
            crf = resolve_default_image_crf(SimpleNamespace(config=config))
            return {"image": image.convert("RGB"), "image_crf": crf}

    def _clean(self, prompt: str) -> str:
        return prompt.strip()

    def _encode(self, pipe: Any, prompt: str, negative_prompt: str, limit: int) -> dict[str, Any]:
        import torch

        embeds, mask, negative_embeds, negative_mask = pipe.encode_prompt(
            prompt, negative_prompt, do_classifier_free_guidance=True, max_sequence_length=limit
        )
        connected = pipe.connectors(
            torch.cat([negative_embeds, embeds], dim=0),
            torch.cat([negative_mask, mask], dim=0),
            padding_side=getattr(pipe.tokenizer, "padding_side", "left"),
        )
        tensors = dict(zip(_CONNECTED, connected, strict=True))
        # One number of the text encoder's output: the pipeline takes its working precision from it.
        tensors["prompt_embeds"] = embeds[:, :1, :1]
        return tensors

    def _run(
        self, pipe: Any, loop: Loop, text: dict[str, Any], request: RenderRequest, **call: Any
    ) -> dict[str, Any]:
        import torch

        embeds = text["prompt_embeds"]
        mask = torch.ones(embeds.shape[:2], dtype=torch.int64, device=embeds.device)
        config = pipe.transformer.config
        if request.picture is not None:
            call |= self._picture(request.picture)
        pipe.connectors = _Connected(tuple(text[name] for name in _CONNECTED))
        try:
            audio = pipe(
                prompt_embeds=embeds,
                prompt_attention_mask=mask,
                negative_prompt_embeds=torch.zeros_like(embeds),
                negative_prompt_attention_mask=mask,
                num_frames=request.num_frames,
                frame_rate=float(request.fps),
                audio_guidance_scale=_AUDIO_GUIDANCE_SCALE,
                **guidance(config),
                **call,
            )[1]
        finally:
            pipe.connectors = None
        # The pipeline's own "latent" output is denormalised in another precision than the one it decodes from,
        # so the last step's latents are taken instead.
        video = pipe._unpack_latents(  # noqa: SLF001 - what the pipeline itself does next
            loop.latents,
            (request.num_frames - 1) // pipe.vae_temporal_compression_ratio + 1,
            request.height // pipe.vae_spatial_compression_ratio,
            request.width // pipe.vae_spatial_compression_ratio,
            pipe.transformer_spatial_patch_size,
            pipe.transformer_temporal_patch_size,
        )
        return {"latents": video.to(embeds.dtype), "audio_latents": audio}

    def _empty(self, pipe: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        names = ("hidden_states", "audio_hidden_states")
        video, audio = (kwargs[name] if name in kwargs else args[place] for place, name in enumerate(names))
        sizes = (pipe.transformer.proj_out.out_features, pipe.transformer.audio_proj_out.out_features)
        return tuple(
            hidden.new_zeros((*hidden.shape[:-1], size))
            for hidden, size in zip((video, audio), sizes, strict=True)
        )

    def _decode(self, pipe: Any, latents: dict[str, Any]) -> Any:
        import torch

        video, vae = latents["latents"], pipe.vae
        # At the pipeline's default decode timestep of 0 no noise is mixed in.
        timestep = (
            torch.zeros(1, device=video.device, dtype=video.dtype)
            if vae.config.timestep_conditioning
            else None
        )
        video = pipe._denormalize_latents(  # noqa: SLF001 - as above
            video, vae.latents_mean, vae.latents_std, vae.config.scaling_factor
        )
        return vae.decode(video.to(vae.dtype), timestep, return_dict=False)[0]

    def audio(self, latents: Latents, request: RenderRequest) -> Audio | None:
        """Run the audio VAE and the vocoder as the pipeline does. Raises `NotLoaded`, `CheckpointError`."""
        import torch

        super().audio(latents, request)
        pipe = self.pipeline("generate")
        with torch.inference_mode():
            spectrum = latents.tensors["audio_latents"].to(self._device, pipe.audio_vae.dtype)
            sound = pipe.vocoder(pipe.audio_vae.decode(spectrum, return_dict=False)[0])[0]
        samples = sound.to("cpu", torch.float32).numpy().astype(np.float32, copy=False)
        return Audio(samples, int(pipe.vocoder.config.output_sampling_rate))


def guidance(config: Any) -> dict[str, Any]:
    """The pipeline's guidance arguments that fit a transformer's config.

    Spatio-temporal guidance perturbs one block, so the block must exist and be made for it; LTX-2.0, told by its
    config, wants the older form of cross-modality timesteps.
    """
    perturbed = bool(config.perturbed_attn)
    return {
        "stg_scale": 1.0 if perturbed else 0.0,
        "audio_stg_scale": 1.0 if perturbed else 0.0,
        "spatio_temporal_guidance_blocks": [min(_STG_BLOCK, int(config.num_layers) - 1)],
        "use_cross_timestep": bool(config.cross_attn_mod or config.audio_cross_attn_mod),
    }
