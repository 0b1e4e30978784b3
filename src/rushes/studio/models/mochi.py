"""MOCHI1: diffusers' MochiPipeline (joint attention over space, time and text)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from rushes.studio.models.base import DiffusersBackend

if TYPE_CHECKING:
    from rushes.studio.models.card import RenderRequest
    from rushes.studio.models.loop import Loop

_TEXT = (
    "prompt_embeds",
    "prompt_attention_mask",
    "negative_prompt_embeds",
    "negative_prompt_attention_mask",
)


class MochiBackend(DiffusersBackend):
    """See `protocol.Backend`."""

    max_tokens = 256  # the pipeline's default max_sequence_length

    def _encode(self, pipe: Any, prompt: str, negative_prompt: str, limit: int) -> dict[str, Any]:
        encoded = pipe.encode_prompt(
            prompt, negative_prompt, do_classifier_free_guidance=True, max_sequence_length=limit
        )
        return dict(zip(_TEXT, encoded, strict=True))

    def _run(
        self, pipe: Any, loop: Loop, text: dict[str, Any], request: RenderRequest, **call: Any
    ) -> dict[str, Any]:
        del loop
        with warnings.catch_warnings():
            # Its transformer asks for a float32 autocast, which does nothing on a CPU, and torch says so each step.
            warnings.filterwarnings("ignore", message="In CPU autocast", category=UserWarning)
            return {"latents": pipe(**text, **call, num_frames=request.num_frames)[0]}

    def _decode(self, pipe: Any, latents: dict[str, Any]) -> Any:
        import torch

        video, config = latents["latents"], pipe.vae.config
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean is not None and std is not None:
            mean, std = (
                torch.tensor(one).view(1, -1, 1, 1, 1).to(video.device, video.dtype) for one in (mean, std)
            )
            video = video * std / config.scaling_factor + mean
        else:
            video = video / config.scaling_factor
        return pipe.vae.decode(video, return_dict=False)[0]
