"""The one small protocol that every model family answers, so that the worker knows none of them.

Text and video are loaded apart ("encode", "generate"): two processes share the work, and what passes between
them (`Encoded`) is a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias, runtime_checkable

from rushes.studio.models.errors import CheckpointError
from rushes.studio.models.tensorfile import digest_of, read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from rushes.studio.models.card import ModelCard, RenderRequest

_VERSION = "1"

Part = Literal["encode", "generate"]
LoadPart = Literal["encode", "generate", "all"]


@dataclass(frozen=True, eq=False, slots=True)
class _Saved:
    """Named tensors of one model that go to disk and come back bit-identical."""

    kind: ClassVar[str]

    model: str
    tensors: Mapping[str, Any] = field(repr=False)

    def _facts(self) -> dict[str, str]:
        """What else the file says, and `load` hands to the constructor."""
        return {}

    @classmethod
    def _from_facts(cls, facts: dict[str, str]) -> dict[str, Any]:
        return {name: int(value) for name, value in facts.items()}

    def save(self, path: Path) -> None:
        """Write to `path` atomically, with a checksum."""
        metadata = {"kind": self.kind, "version": _VERSION, "model": self.model}
        write_tensors(path, self.tensors, metadata | self._facts())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; tensors are on the CPU.

        Raises:
            CheckpointError: missing, damaged, or a file of another kind or version.
        """
        tensors, metadata = read_tensors(path)
        kind, version = metadata.pop("kind", ""), metadata.pop("version", "")
        if kind != cls.kind or version != _VERSION:
            raise CheckpointError(
                f"{path} holds {kind or 'something'} version {version or 'unknown'}, "
                f"not {cls.kind} version {_VERSION}"
            )
        model = metadata.pop("model", "")
        return cls(model, tensors, **cls._from_facts(metadata))


@dataclass(frozen=True, eq=False, slots=True)
class Encoded(_Saved):
    """A prompt as its text encoder sees it; what the render and its recoveries need of it.

    `tokens` is how many the prompt has, `token_limit` how many the encoder takes (both with special tokens).
    """

    kind: ClassVar[str] = "encoded"

    tokens: int = 0
    token_limit: int = 0

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all that the render reads of it."""
        return digest_of(self.tensors, {"model": self.model})

    @property
    def truncated(self) -> bool:
        """Whether the end of the prompt did not fit and has no effect on the video."""
        return self.tokens > self.token_limit

    def _facts(self) -> dict[str, str]:
        return {"tokens": str(self.tokens), "token_limit": str(self.token_limit)}


@dataclass(frozen=True, eq=False, slots=True)
class Latents(_Saved):
    """What the last denoising step leaves: the video's latents and, with audio, the audio's."""

    kind: ClassVar[str] = "latents"


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint(_Saved):
    """A denoising loop after `step` of its `total` steps, from which it goes on to the very same video.

    `fingerprint` names what else decides about the video; a loop of another fingerprint can't go on from here.
    `state` is what the schedulers remember, as JSON that refers to `tensors`.
    """

    kind: ClassVar[str] = "checkpoint"

    step: int
    total: int
    fingerprint: str
    state: str = field(repr=False)

    def _facts(self) -> dict[str, str]:
        return {
            "step": str(self.step),
            "total": str(self.total),
            "fingerprint": self.fingerprint,
            "state": self.state,
        }

    @classmethod
    def _from_facts(cls, facts: dict[str, str]) -> dict[str, Any]:
        return facts | {"step": int(facts["step"]), "total": int(facts["total"])}


@dataclass(frozen=True, eq=False, slots=True)
class Audio:
    """Sound of a video: float32 samples in -1..1, shape (channels, samples), `sample_rate` in hertz."""

    samples: npt.NDArray[np.float32] = field(repr=False)
    sample_rate: int


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A denoising step has ended: `index` counts from 1; on a GPU `elapsed_ns` is the host's part of it.

    `checkpoint` copies the loop's state as it is now; on a GPU that waits for it. It raises `UnsavableState`.
    """

    index: int
    total: int
    elapsed_ns: int
    checkpoint: Callable[[], Checkpoint] = field(repr=False, compare=False)


OnStep: TypeAlias = Callable[[StepEvent], None]
"""Called in the thread that denoises; what it raises ends the render."""


@runtime_checkable
class Backend(Protocol):
    """One model with its weights, on one device."""

    @property
    def card(self) -> ModelCard:
        """What the model offers."""

    @property
    def folder(self) -> Path:
        """Where the weights are."""

    @property
    def loaded(self) -> frozenset[Part]:
        """The parts that are in memory."""

    def stored_bytes(self, part: LoadPart) -> int:
        """The size of a part's weights on disk."""

    @property
    def memory_bytes(self) -> int:
        """The size of the parameters and buffers that are in memory."""

    def load(self, part: LoadPart) -> None:
        """Bring a part into memory; nothing happens if it is there already. Raises `WeightsMissing`."""

    def unload(self) -> None:
        """Let go of all parts and of their memory on the device."""

    def sparing(self) -> AbstractContextManager[None]:
        """While open, renders take less memory and more time: the VAE works in tiles, and on a GPU the parts of the
        model that are not at work are in the host's memory.
        """

    def instrument(self, *, sample_every: int) -> None:
        """Have `rushes.instrument` measure every call of what is loaded, sub-modules on every n-th step."""

    def encode(self, prompt: str, negative_prompt: str = "") -> Encoded:
        """Run the text encoder (part "encode"). Raises `NotLoaded`."""

    def denoise(
        self,
        encoded: Encoded,
        request: RenderRequest,
        on_step: OnStep | None = None,
        *,
        resume: Checkpoint | None = None,
    ) -> Latents:
        """Run the denoising loop (part "generate"), or what is left of it after the checkpoint `resume`.

        Raises:
            NotLoaded: the part is not in memory.
            CheckpointError: `encoded` is another model's, or `resume` of another video, checkpoint or version.
        """

    def fingerprint(self, encoded: Encoded, request: RenderRequest) -> str:
        """What decides about a video besides the loop's state: `Checkpoint.fingerprint` of those that fit."""

    def decode(self, latents: Latents, request: RenderRequest) -> npt.NDArray[np.uint8]:
        """Run the VAE (part "generate"): frames as (frames, height, width, 3)."""

    def audio(self, latents: Latents, request: RenderRequest) -> Audio | None:
        """Run the audio decoder and vocoder (part "generate"), or None for a silent model."""
