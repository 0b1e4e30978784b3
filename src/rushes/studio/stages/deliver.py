"""transcode and upload: frames and sound become an MP4, the MP4 an object that the gateway can deliver."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry.trace import Span

from rushes.sdk import logs, tracing
from rushes.studio.failure import Cancelled
from rushes.studio.render import Render
from rushes.studio.transcode import transcode as encode_mp4

__all__ = ["transcode", "upload"]

_LOG: Final = logs.get_logger("transcoder")
_ENCODER_SPANS: Final = {"libx264": "x264.encode", "h264_nvenc": "nvenc.encode"}


def transcode(render: Render, span: Span) -> None:
    """Raises TranscodeError."""
    frames, sound = render.frames, render.sound
    assert frames is not None, "vae_decode has run"  # noqa: S101 - the pipeline's order
    render.folder.mkdir(parents=True, exist_ok=True)
    begun = time.time_ns()
    render.file = encode_mp4(
        frames,
        render.folder / "video.mp4",
        fps=render.job.fps,
        audio=sound.samples if sound else None,
        audio_rate=sound.sample_rate if sound else None,
    )
    # Named afterwards: only now it is known which encoder did it.
    tracing.record(_ENCODER_SPANS[render.file.encoder], begun, time.time_ns())
    span.set_attributes({"codec": render.file.codec, "bitrate": render.file.bitrate_bps})
    _LOG.info(
        "generation.transcode.completed",
        request_id=render.job.id,
        model=render.job.model,
        encoder=render.file.encoder,
        size_bytes=render.file.size_bytes,
    )


def upload(render: Render, span: Span) -> None:
    """Raises StorageError, Cancelled."""
    assert render.file is not None, "transcode has run"  # noqa: S101 - the pipeline's order
    store, media = render.tools.store, render.tools.media
    # Known before it is there: whoever deletes an equal video meanwhile sees that this one is coming.
    if not store.reserve_media(render.job.id, media.name_of(render.file.path)):
        raise Cancelled(render.job.id)
    with tracing.span("storage.write") as write:
        stored = media.put(render.file.path)
        write.set_attribute("size_bytes", stored.size_bytes)
    render.media, render.size_bytes = stored.name, stored.size_bytes
    span.set_attribute("rushes.media", stored.name)
