"""The MP4 file itself: encoded under a temporary name, checked, flushed to disk and only then given its own name.

A reader therefore never sees half a video, and a full disk leaves nothing behind. The same input gives the same
bytes with libx264 (fixed threads, bit-exact flags, no dates): a recovered job is stored under the same name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import av.error
import numpy as np
from av.codec.context import Flags

from rushes.studio.transcode import sound
from rushes.studio.transcode.encoder import PRESETS, Encoder, options, probe_encoder
from rushes.studio.transcode.upsize import Upsized, Upsizing, plan, repeat

if TYPE_CHECKING:
    import numpy.typing as npt

    Frames = npt.NDArray[np.uint8]

BT709: Final = 1  # FFmpeg's number for it, the same for matrix, primaries and transfer
LIMITED_RANGE: Final = 1
WORST_CRF: Final = 51
NO_ROOM: Final = {
    errno.ENOSPC: "no space left on the device; free some, or point the work folder at a larger one",
    errno.EDQUOT: "the disk quota is used up; free some space, or point the work folder elsewhere",
    errno.EFBIG: "the file would be larger than the system allows; raise the file-size limit",
    errno.EROFS: "the file system is read-only; point the work folder at one that can be written",
}


class TranscodeError(RuntimeError):
    """No video was written; the text says why. `errno` is the system's number if the disk was to blame."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


@dataclass(frozen=True, slots=True)
class Transcoded:
    """A finished MP4 file and who encoded it.

    `bitrate_bps` is the whole file's, sound and container included; `duration_s` is frames over frame rate;
    `upsized` is None where the file's frames have the size that they were given in.
    """

    path: Path
    encoder: Encoder
    codec: str
    bitrate_bps: int
    size_bytes: int
    duration_s: float
    frames: int
    has_audio: bool
    upsized: Upsized | None = None


def transcode(
    frames: Frames,
    path: Path | str,
    *,
    fps: float | Fraction,
    audio: npt.NDArray[np.float32] | None = None,
    audio_rate: int | None = None,
    encoder: Encoder | None = None,
    crf: int = 20,
    preset: str = "veryfast",
    threads: int = 4,
    upsize: Upsizing | None = None,
) -> Transcoded:
    """Write `frames` and `audio` to `path` as MP4: H.264 (yuv420p, BT.709), AAC, index first.

    Args:
        frames: RGB, uint8, shape (frames, height, width, 3). An odd size gains one repeated row or column.
        path: where the file will stand; its folder must exist. A file of that name is replaced.
        fps: frames a second.
        audio: float32 in [-1, 1], shape (channels, samples); cut or padded with silence to the picture's length.
        audio_rate: hertz. A rate that AAC doesn't know is resampled to the next it does.
        encoder: `h264_nvenc` or `libx264`; by default what `probe_encoder` found. If NVENC refuses this clip
            (it has a smallest size and a limit on sessions), libx264 encodes it, and the result says so.
        crf: quality from 1 (best) to 51; NVENC takes it as its constant quantiser.
        preset: one of x264's names, `ultrafast` to `veryslow`.
        threads: encoder threads; another number may give other bytes.
        upsize: how to make a clip with a side of less than 256 pixels larger, by a whole factor that the file's
            comment tells; by default it stays as it is.

    Raises:
        ValueError: the input can't be a video.
        TranscodeError: encoding or writing failed; nothing is left on disk.
    """
    rate = _check(frames, fps, crf, preset, threads)
    duration = len(frames) / rate
    soundtrack = None
    if audio is not None:
        soundtrack = sound.prepare(audio, sound.check(audio, audio_rate), duration)
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    first = encoder or probe_encoder()
    candidates: tuple[Encoder, ...] = (first,) if first == "libx264" else (first, "libx264")
    used: Encoder = first
    larger = plan(frames.shape[2], frames.shape[1], upsize)
    try:
        for used in candidates:
            try:
                _encode(
                    part,
                    frames,
                    rate,
                    soundtrack,
                    used,
                    larger=larger,
                    crf=crf,
                    preset=preset,
                    threads=threads,
                )
                break
            except av.error.FFmpegError as error:
                if used == "libx264" or error.errno in NO_ROOM:
                    raise
        _verify(part, frames=len(frames), has_audio=soundtrack is not None)
        size = publish(part, path)
    except (av.error.FFmpegError, OSError) as error:
        number = error.errno
        cause = NO_ROOM.get(number or 0) or f"{error.strerror or type(error).__name__} ({used})"
        raise TranscodeError(
            f"could not write the video {path}: {cause}", number if isinstance(error, OSError) else None
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return Transcoded(
        path=path,
        encoder=used,
        codec="h264",
        bitrate_bps=round(size * 8 / duration),
        size_bytes=size,
        duration_s=float(duration),
        frames=len(frames),
        has_audio=soundtrack is not None,
        upsized=larger,
    )


def _check(frames: Frames, fps: float | Fraction, crf: int, preset: str, threads: int) -> Fraction:
    if frames.shape[3:] != (3,) or frames.dtype != np.uint8:
        raise ValueError(
            f"frames must be uint8 of shape (frames, height, width, 3), got {frames.dtype} of {frames.shape}"
        )
    if 0 in frames.shape:
        raise ValueError(f"frames must hold at least one pixel, got shape {frames.shape}")
    try:
        rate = Fraction(fps).limit_denominator(1001)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"fps must be a positive number, got {fps!r}") from error
    if rate <= 0:
        raise ValueError(f"fps must be a positive number of at least 0.001, got {fps!r}")
    if not 1 <= crf <= WORST_CRF:  # 0 is a lossless profile that players refuse
        raise ValueError(f"crf must be from 1 (best) to {WORST_CRF}, got {crf}")
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    return rate


def _encode(
    part: Path,
    frames: Frames,
    rate: Fraction,
    soundtrack: sound.Soundtrack | None,
    encoder: Encoder,
    *,
    larger: Upsized | None,
    crf: int,
    preset: str,
    threads: int,
) -> None:
    _, height, width, _ = frames.shape
    factor = larger.factor if larger else 1
    flags = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(part), "w", format="mp4", options=flags) as container:
        if larger:
            container.metadata["comment"] = str(larger)
        video = container.add_stream(encoder, rate=rate, options=options(encoder, crf=crf, preset=preset))
        video.width, video.height = _even(width * factor), _even(height * factor)
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.time_base = 1 / rate
        context.thread_count = threads
        context.flags |= Flags.bitexact
        context.color_range = LIMITED_RANGE
        context.colorspace = context.color_primaries = context.color_trc = BT709
        sound_stream = None
        if soundtrack is not None:
            sound_stream = container.add_stream("aac", rate=soundtrack.rate, layout=soundtrack.layout)
            sound_stream.codec_context.flags |= Flags.bitexact
        for index, rgb in enumerate(frames):
            frame = _yuv(rgb, larger)
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound_stream is not None and soundtrack is not None:
            container.mux(sound_stream.encode(soundtrack.frame()))
            container.mux(sound_stream.encode(None))


def _even(side: int) -> int:
    return side + side % 2


def _yuv(rgb: Frames, larger: Upsized | None) -> av.VideoFrame:
    width = height = None
    if larger and larger.method == "nearest":
        rgb = repeat(rgb, larger.factor)
    elif larger:
        width, height = _even(larger.width * larger.factor), _even(larger.height * larger.factor)
    if (rgb.shape[0] % 2 or rgb.shape[1] % 2) and width is None:
        rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return frame.reformat(
        width=width,
        height=height,
        format="yuv420p",
        dst_colorspace="ITU709",
        dst_color_range="MPEG",
        interpolation="LANCZOS" if width else "BICUBIC",
        threads=1,  # the conversion must not depend on how many cores there are
    )


def _verify(part: Path, *, frames: int, has_audio: bool) -> None:
    with av.open(str(part)) as container:
        found = container.streams.video[0].frames if container.streams.video else 0
        heard = bool(container.streams.audio)
    if found != frames or heard != has_audio:
        raise TranscodeError(
            f"the encoded file has {found} frames and {'a' if heard else 'no'} soundtrack; "
            f"{frames} frames and {'a' if has_audio else 'no'} soundtrack were given"
        )


def publish(part: Path, path: Path) -> int:
    with part.open("rb") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the new name must survive a power cut too
    finally:
        os.close(folder)
    return size
