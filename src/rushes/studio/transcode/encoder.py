"""Which H.264 encoder this machine can really open, and the options each one takes.

PyAV's wheel lists NVENC on every machine, and some data-centre GPUs (A100, H100, H200) have no NVENC unit at
all, so the only honest answer comes from encoding a frame.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import av
import av.error
import numpy as np
from av.codec.context import CodecContext

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

Encoder: TypeAlias = Literal["h264_nvenc", "libx264"]

# x264's presets, fastest first, and the NVENC preset (p1 fastest, p7 best) that stands where each one does.
PRESETS: Final = {
    "ultrafast": "p1",
    "superfast": "p2",
    "veryfast": "p3",
    "faster": "p4",
    "fast": "p4",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
}


def options(encoder: Encoder, *, crf: int, preset: str) -> dict[str, str]:
    """The private options that give `encoder` the quality `crf` (1 best to 51) at the speed of `preset`."""
    if encoder == "h264_nvenc":
        return {"preset": PRESETS[preset], "rc": "constqp", "qp": str(crf)}
    # x264's SIMD for the macroblock tree reads past the end of a row unless the width is a multiple of 256
    # pixels: the same frames then give other bytes on the next call. Content-addressed names need the same.
    return {"preset": preset, "crf": str(crf), "x264-params": "mbtree=0"}


@cache
def probe_encoder() -> Encoder:
    """`h264_nvenc` if it encodes a 256x256 frame on this machine, else `libx264`; found out once a process."""
    try:
        encoded = _encode_one_frame("h264_nvenc")
    except (av.error.FFmpegError, ValueError, OSError):
        return "libx264"
    return "h264_nvenc" if encoded else "libx264"


def _encode_one_frame(encoder: Encoder) -> bool:
    context: VideoCodecContext = CodecContext.create(encoder, "w")
    context.width = context.height = 256
    context.pix_fmt = "yuv420p"
    context.framerate = Fraction(25)
    context.time_base = Fraction(1, 25)
    context.options = options(encoder, crf=23, preset="veryfast")
    frame = av.VideoFrame.from_ndarray(np.zeros((384, 256), dtype=np.uint8), format="yuv420p")
    frame.pts = 0
    return bool([*context.encode(frame), *context.encode(None)])
