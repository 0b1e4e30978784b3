"""OPENSORA: diffusers' LattePipeline (spatial blocks and temporal blocks in turn; a fixed count of frames)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rushes.studio.models.base import DiffusersBackend

if TYPE_CHECKING:
    from rushes.studio.models.card import RenderRequest
    from rushes.studio.models.loop import Loop


class LatteBackend(DiffusersBackend):
    """See `protocol.Backend`."""

    max_tokens = 120  # fixed in the pipeline

    def _token_limit(self, pipe: Any) -> int:
        del pipe  # the pipeline does not ask the tokenizer
        return self.max_tokens

    def _clean(self, prompt: str) -> str:
        return prompt.lower().strip()

    def _encode(self, pipe: Any, prompt: str, negative_prompt: str, limit: int) -> dict[str, Any]:
        del limit
        # clean_caption would depend on whether two optional packages happen to be installed.
        positive, negative = pipe.encode_prompt(
            prompt, do_classifier_free_guidance=True, negative_prompt=negative_prompt, clean_caption=False
        )
        return {"prompt_embeds": positive, "negative_prompt_embeds": negative}

    def _run(
        self, pipe: Any, loop: Loop, text: dict[str, Any], request: RenderRequest, **call: Any
    ) -> dict[str, Any]:
        del loop
        # An empty negative prompt is the default and may not be given beside its embedding.
        return {"latents": pipe(negative_prompt=None, **text, **call, video_length=request.num_frames)[0]}

    def _output_shape(self, pipe: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], int(pipe.transformer.config.out_channels), *shape[2:])

    def _decode(self, pipe: Any, latents: dict[str, Any]) -> Any:
        video = latents["latents"]
        return pipe.decode_latents(video, video.shape[2])
