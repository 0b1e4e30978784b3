"""What the gateway needs of the video storage, so that it knows no more of it than that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
