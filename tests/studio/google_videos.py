"""Videos as Google sends them: real MP4 files with sound, the index where a test wants it."""

from __future__ import annotations

import base64
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from instrument.veo.api import Answer, Api

__all__ = ["FRAMES", "boxes", "mp4", "sends"]

FRAMES = 24
_FPS, _RATE = 24, 48_000


def mp4(*, index_first: bool = True) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")  # FFmpeg reads it again to move the index
        _write(path, {"movflags": "+faststart"} if index_first else {})
        return path.read_bytes()


def _write(path: Path, options: dict[str, str]) -> None:
    with av.open(str(path), "w", format="mp4", options=options) as container:
        video = container.add_stream("libx264", rate=_FPS)
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        sound = container.add_stream("aac", rate=_RATE, layout="stereo")
        for n in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((36, 64, 3), n * 10, np.uint8), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, _FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        wave = np.sin(np.arange(_RATE * FRAMES // _FPS) / 20).astype(np.float32)
        heard = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        heard.sample_rate, heard.pts = _RATE, 0
        container.mux(sound.encode(heard))
        container.mux(sound.encode(None))


def boxes(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    return found


def sends(api: Api, video: bytes, *before: Answer) -> None:
    """Has the server send the video, after other answers to the question whether it is ready."""
    inline: dict[str, Any] = {}
    if api.vertex:
        inline = {
            "videos": [{"bytesBase64Encoded": base64.b64encode(video).decode(), "mimeType": "video/mp4"}]
        }
    api.poll = [*before, api.done(**inline)]
    api.download = [Answer(body=video)]
