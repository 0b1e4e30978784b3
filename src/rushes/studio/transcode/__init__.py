"""Frames and sound in, an MP4 file out: in this process, through PyAV, so that no ffmpeg binary is needed."""

from rushes.studio.transcode.encoder import Encoder, probe_encoder
from rushes.studio.transcode.foreign import Clip, index_first, look_into, move_index
from rushes.studio.transcode.mp4 import Transcoded, TranscodeError, transcode
from rushes.studio.transcode.upsize import Upsized, Upsizing

__all__ = [
    "Clip",
    "Encoder",
    "TranscodeError",
    "Transcoded",
    "Upsized",
    "Upsizing",
    "index_first",
    "look_into",
    "move_index",
    "probe_encoder",
    "transcode",
]
