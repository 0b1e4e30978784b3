"""What the three families share: loading by parts, the watched call, the way from latents to frames.

Each family calls its real diffusers pipeline with text that was encoded before, so that a video made in parts is
bit-identical to one made by a single call of the pipeline.
"""

from __future__ import annotations

import gc
import hashlib
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rushes.instrument import instrument, resumed_after, uninstrument
from rushes.studio.models.errors import CheckpointError, NotLoaded, UnsupportedRequest
from rushes.studio.models.loop import Loop
from rushes.studio.models.offline import libraries
from rushes.studio.models.protocol import Audio, Encoded, Latents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from rushes.studio.models.card import ModelCard, RenderRequest
    from rushes.studio.models.protocol import Checkpoint, LoadPart, OnStep, Part
    from rushes.studio.models.weights import WeightsFolder

_ENCODE: Part = "encode"
_GENERATE: Part = "generate"


class DiffusersBackend(ABC):
    """A backend over one class of diffusers pipelines, for one thread at a time; see `protocol.Backend`.

    Weights are float32 on the CPU and bfloat16 on a GPU unless `dtype` (a torch dtype's name) says otherwise.
    """

    encode_components: ClassVar[frozenset[str]] = frozenset({"tokenizer", "text_encoder"})
    max_tokens: ClassVar[int]

    def __init__(
        self,
        card: ModelCard,
        weights: WeightsFolder,
        device: str = "cpu",
        *,
        dtype: str | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.card = card
        self._weights = weights
        self._device = device
        self._dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        self._monotonic_ns = monotonic_ns
        self._pipes: dict[Part, Any] = {}

    # Loading

    @property
    def folder(self) -> Path:
        """Where the weights are."""
        return self._weights.folder

    @property
    def loaded(self) -> frozenset[Part]:
        """The parts that are in memory."""
        return frozenset(self._pipes)

    def load(self, part: LoadPart) -> None:
        """Bring a part into memory; parts already there stay as they are. Raises `WeightsMissing`."""
        wanted = (_ENCODE, _GENERATE) if part == "all" else (part,)
        missing = [one for one in wanted if one not in self._pipes]
        if missing:
            self._weights.check()
        for one in missing:
            self._pipes[one] = self._open(one)

    def _open(self, part: Part) -> Any:
        diffusers, _ = libraries()
        import torch
        from safetensors import SafetensorError

        components = self._weights.components()
        left_out = {
            name: None for name in components if (name in self.encode_components) != (part == _ENCODE)
        }
        try:
            pipe = getattr(diffusers, self.card.pipeline).from_pretrained(
                str(self._weights.folder),
                dtype=getattr(torch, self._dtype),
                local_files_only=True,
                use_safetensors=True,  # a pickle could run code
                **left_out,
            )
        except torch.OutOfMemoryError:
            raise  # a fault of the device, not of the folder
        except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
            raise self._weights.missing(
                f"diffusers cannot load it ({type(error).__name__}: {error})"
            ) from error
        pipe.to(self._device)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def stored_bytes(self, part: LoadPart) -> int:
        """The size of a part's weights on disk."""
        return sum(
            file.stat().st_size
            for name in self._weights.components()
            if part == "all" or (name in self.encode_components) == (part == _ENCODE)
            for file in (self._weights.folder / name).glob("*.safetensors")
        )

    @property
    def memory_bytes(self) -> int:
        """The size of the parameters and buffers that are in memory."""
        import torch

        tensors = {
            id(tensor): tensor.nbytes
            for pipe in self._pipes.values()
            for module in pipe.components.values()
            if isinstance(module, torch.nn.Module)
            for tensor in (*module.parameters(), *module.buffers())
        }
        return sum(tensors.values())

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """While open, renders take less memory and more time. Raises `NotLoaded`."""
        pipe = self.pipeline(_GENERATE)
        on_gpu = self._device.startswith("cuda")
        vae = pipe.vae
        vae.enable_tiling()
        vae.enable_slicing()
        try:
            if on_gpu:
                self._free_cache()  # what the render that ran out of it has left
                pipe.enable_model_cpu_offload(device=self._device)
            yield
        finally:
            vae.disable_slicing()
            vae.disable_tiling()
            if on_gpu:
                pipe.remove_all_hooks()
                pipe.to(self._device)

    def unload(self) -> None:
        """Let go of all parts and of their memory on the device."""
        for pipe in self._pipes.values():
            uninstrument(pipe)
        self._pipes.clear()
        self._free_cache()

    def _free_cache(self) -> None:
        gc.collect()
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    def pipeline(self, part: Part) -> Any:
        """The diffusers pipeline that holds a part's components. Raises `NotLoaded`."""
        try:
            return self._pipes[part]
        except KeyError:
            raise NotLoaded(
                f"{self.card.name}: part {part} is not loaded; call load({part!r}) first"
            ) from None

    def instrument(self, *, sample_every: int) -> None:
        """Have `rushes.instrument` measure every call of what is loaded, sub-modules on every n-th step."""
        for pipe in self._pipes.values():
            instrument(pipe, model=self.card.name, sample_every=sample_every)

    # Text

    def encode(self, prompt: str, negative_prompt: str = "") -> Encoded:
        """Run the text encoder. Raises `NotLoaded`."""
        import torch

        pipe = self.pipeline(_ENCODE)
        limit = self._token_limit(pipe)
        tokens = len(pipe.tokenizer(self._clean(prompt)).input_ids)
        with torch.inference_mode():
            tensors = self._encode(pipe, prompt, negative_prompt, limit)
        return Encoded(self.card.name, tensors, tokens, limit)

    def _token_limit(self, pipe: Any) -> int:
        return min(self.max_tokens, int(pipe.tokenizer.model_max_length))

    def _clean(self, prompt: str) -> str:
        """The prompt as the pipeline hands it to the tokenizer."""
        return prompt

    @abstractmethod
    def _encode(self, pipe: Any, prompt: str, negative_prompt: str, limit: int) -> dict[str, Any]:
        """Everything that `_run` needs of the text, as named tensors."""

    # Video

    def denoise(
        self,
        encoded: Encoded,
        request: RenderRequest,
        on_step: OnStep | None = None,
        *,
        resume: Checkpoint | None = None,
    ) -> Latents:
        """Run the denoising loop by calling the pipeline.

        Raises `NotLoaded`, `CheckpointError`, `UnsupportedRequest`.
        """
        import torch

        self._mine(encoded)
        pipe = self.pipeline(_GENERATE) if request.picture is None else self._picture_pipeline()
        text = {name: tensor.to(self._device) for name, tensor in encoded.tensors.items()}
        # On the CPU, so that a seed means the same video on every device.
        generator = torch.Generator("cpu").manual_seed(request.seed)
        loop = Loop(
            pipe,
            generator,
            on_step,
            model=self.card.name,
            fingerprint=self.fingerprint(encoded, request),
            resume=resume,
            empty=lambda *args, **kwargs: self._empty(pipe, *args, **kwargs),
            monotonic_ns=self._monotonic_ns,
        )
        with torch.inference_mode(), loop, resumed_after(resume.step if resume else 0):
            tensors = self._run(
                pipe,
                loop,
                text,
                request,
                width=request.width,
                height=request.height,
                num_inference_steps=request.steps,
                guidance_scale=request.guidance_scale,
                generator=generator,
                callback_on_step_end=loop.on_step_end,
                output_type="latent",
                return_dict=False,
            )
        if self._device.startswith("cuda"):
            torch.cuda.synchronize(self._device)  # once a video: the loop's end is the work's end
        return Latents(self.card.name, tensors)

    def _picture_pipeline(self) -> Any:
        """The pipeline that begins with a picture, made of the part "generate"'s components."""
        raise UnsupportedRequest(f"{self.card.name} can't begin a video with a picture; leave it out")

    @abstractmethod
    def _run(
        self, pipe: Any, loop: Loop, text: dict[str, Any], request: RenderRequest, **call: Any
    ) -> dict[str, Any]:
        """Call the pipeline with `call` and the family's own arguments; returns the latents."""

    def _empty(self, pipe: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """An answer of the transformer that nobody will look at, in the shape of its real ones."""
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        return (hidden.new_zeros(self._output_shape(pipe, tuple(hidden.shape))),)

    def _output_shape(self, pipe: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        del pipe  # for those whose output has another shape than their input
        return shape

    def fingerprint(self, encoded: Encoded, request: RenderRequest) -> str:
        """What decides about a video, besides the loop's state: a checkpoint of another can't be gone on with."""
        import diffusers
        import torch

        facts = (
            torch.__version__,
            diffusers.__version__,
            self._weights.identity(),
            self._dtype,
            torch.device(self._device).type,
            request,
            encoded.digest(),
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def decode(self, latents: Latents, request: RenderRequest) -> npt.NDArray[np.uint8]:
        """Run the VAE as the pipeline does: frames as (frames, height, width, 3). Raises `NotLoaded`."""
        import torch

        pipe = self.pipeline(_GENERATE)
        self._mine(latents)
        with torch.inference_mode():
            video = self._decode(pipe, {name: one.to(self._device) for name, one in latents.tensors.items()})
            frames: npt.NDArray[np.float32] = pipe.video_processor.postprocess_video(video, output_type="np")[
                0
            ]
        expected = (request.num_frames, request.height, request.width, 3)
        if frames.shape != expected:
            raise CheckpointError(f"latents decode to {frames.shape}, the request says {expected}")
        return (frames * 255).round().astype(np.uint8)

    @abstractmethod
    def _decode(self, pipe: Any, latents: dict[str, Any]) -> Any:
        """The decoded video tensor (batch, channels, frames, height, width)."""

    def audio(self, latents: Latents, request: RenderRequest) -> Audio | None:  # noqa: ARG002 - for those with sound
        """None: the family is silent."""
        self._mine(latents)
        return None

    def _mine(self, saved: Encoded | Latents) -> None:
        if saved.model != self.card.name:
            raise CheckpointError(f"made by {saved.model}, cannot be used with {self.card.name}")
