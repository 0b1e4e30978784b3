"""Frames and sound in, an MP4 file out: in this process, through PyAV, so that no ffmpeg binary is needed."""

from rushes.studio.transcode.encoder import Encoder, probe_encoder
from rushes.studio.transcode.mp4 import Transcoded, TranscodeError, transcode

__all__ = ["Encoder", "TranscodeError", "Transcoded", "probe_encoder", "transcode"]
