"""What the gateway needs of models and of the video storage, so that it imports neither torch nor a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ModelCard(Protocol):
    """A model's limits and defaults; `rushes.studio.models.ModelCard` is one."""

    @property
    def name(self) -> str: ...
    @property
    def fps(self) -> int: ...
    @property
    def prompt_limit(self) -> int: ...
    @property
    def default_seconds(self) -> float: ...
    @property
    def default_width(self) -> int: ...
    @property
    def default_height(self) -> int: ...
    @property
    def default_steps(self) -> int: ...
    @property
    def default_guidance(self) -> float: ...

    def frames_for(self, seconds: float) -> int:
        """Frames rendered for `seconds` of video."""

    def validate(self, width: int, height: int, seconds: float, steps: int) -> None:
        """Raises ValueError, with a text fit for the caller, for what the model does not offer."""


class StoredVideo(Protocol):
    """What is known of a stored video before it is read."""

    @property
    def size_bytes(self) -> int: ...


class VideoMedia(Protocol):
    """Stored videos by name; `rushes.studio.storage.Media` is one. `head` and `delete` may block."""

    def head(self, name: str) -> StoredVideo:
        """Raises NoSuchObject, StorageError."""

    def open(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`."""

    def delete(self, name: str) -> None:
        """Removes the video; one that is gone is no error."""
