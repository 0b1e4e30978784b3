"""An MP4 that somebody else made: looked into, and its index moved to the front if it lies at the end.

A player can start a file before it has all of it only with the index first. Nothing is encoded anew: picture and
sound stay as they came. What else was in the file (a provider's own provenance box) does not survive the move.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import av.error

from rushes.studio.transcode.mp4 import NO_ROOM, TranscodeError, publish

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Clip", "index_first", "look_into", "move_index"]

_HEADER: Final = 8


@dataclass(frozen=True, slots=True)
class Clip:
    """What is in a file; `bitrate_bps` is the whole file's."""

    codec: str
    bitrate_bps: int
    size_bytes: int


def look_into(path: Path) -> Clip:
    """Raises TranscodeError for a file without a picture that can be decoded."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise TranscodeError("the file has no picture")
            video = container.streams.video[0]
            next(container.decode(video))
            seconds = (container.duration or 0) / av.time_base
            codec = video.codec_context.name
    except (av.error.FFmpegError, StopIteration) as error:
        raise TranscodeError(f"the file can't be decoded ({type(error).__name__})") from error
    if seconds <= 0:
        raise TranscodeError("the file has no length")
    size = path.stat().st_size
    return Clip(codec, round(size * 8 / seconds), size)


def index_first(path: Path) -> bool:
    """Whether the index (moov) comes before the pictures (mdat)."""
    return next((kind for kind in _boxes(path) if kind in {b"moov", b"mdat"}), b"moov") == b"moov"


def _boxes(path: Path) -> Iterator[bytes]:
    """The types of the boxes at the top level, in order."""
    with path.open("rb") as file:
        at = 0
        while len(header := file.read(_HEADER)) == _HEADER:
            size, kind = int.from_bytes(header[:4], "big"), header[4:]
            yield kind
            if size == 1:  # the size follows in 64 bits
                size = int.from_bytes(file.read(_HEADER), "big")
            if size < _HEADER:
                return  # to the end of the file, or nonsense
            at += size
            file.seek(at)


def move_index(path: Path) -> None:
    """Puts the index first, in place. Raises TranscodeError; the file is then as it was."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with (
            av.open(str(path)) as source,
            av.open(
                str(part), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
            ) as target,
        ):
            kept = [stream for stream in source.streams if stream.type in {"video", "audio"}]
            copies: dict[int, Any] = {
                stream.index: target.add_stream_from_template(stream) for stream in kept
            }
            for packet in source.demux(kept):
                if packet.dts is not None:  # the last of each stream is empty
                    packet.stream = copies[packet.stream.index]
                    target.mux(packet)
        publish(part, path)
    except (av.error.FFmpegError, OSError) as error:
        number = error.errno
        cause = NO_ROOM.get(number or 0) or error.strerror or type(error).__name__
        raise TranscodeError(
            f"could not write the video {path}: {cause}", number if isinstance(error, OSError) else None
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
