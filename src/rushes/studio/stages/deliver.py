"""transcode and upload: frames and sound become an MP4, the MP4 an object that the gateway can deliver."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry.trace import Span

from rushes.sdk import logs, tracing
from rushes.studio.failure import Cancelled
from rushes.studio.render import Render
from rushes.studio.transcode import index_first, look_into, move_index
from rushes.studio.transcode import transcode as encode_mp4

__all__ = ["needs_transcode", "transcode", "upload"]

_LOG: Final = logs.get_logger("transcoder")
_ENCODER_SPANS: Final = {"libx264": "x264.encode", "h264_nvenc": "nvenc.encode"}


def needs_transcode(render: Render) -> bool:
    """Whether there are frames to encode, or a file from elsewhere that can't be played before all of it has come."""
    return render.file is None or not index_first(render.file)


def transcode(render: Render, span: Span) -> None:
    """Raises TranscodeError."""
    if render.file is not None:
        move_index(render.file)
        clip = look_into(render.file)
        span.set_attributes({"codec": clip.codec, "bitrate": clip.bitrate_bps})
        return
    frames, sound = render.frames, render.sound
    assert frames is not None, "vae_decode has run"  # noqa: S101 - the pipeline's order
    render.folder.mkdir(parents=True, exist_ok=True)
    begun = time.time_ns()
    done = encode_mp4(
        frames,
        render.file_path,
        fps=render.job.fps,
        audio=sound.samples if sound else None,
        audio_rate=sound.sample_rate if sound else None,
        upsize=render.tools.upsize,
    )
    render.file = done.path
    # Named afterwards: only now it is known which encoder did it.
    tracing.record(_ENCODER_SPANS[done.encoder], begun, time.time_ns())
    span.set_attributes({"codec": done.codec, "bitrate": done.bitrate_bps})
    if done.upsized:
        span.set_attributes(
            {"rushes.upsize_factor": done.upsized.factor, "rushes.upsize_method": done.upsized.method}
        )
    _LOG.info(
        "generation.transcode.completed",
        request_id=render.job.id,
        model=render.job.model,
        encoder=done.encoder,
        size_bytes=done.size_bytes,
    )


def upload(render: Render, span: Span) -> None:
    """Raises StorageError, Cancelled."""
    assert render.file is not None, "transcode has run"  # noqa: S101 - the pipeline's order
    store, media = render.tools.store, render.tools.media
    # Known before it is there: whoever deletes an equal video meanwhile sees that this one is coming.
    if not store.reserve_media(render.job, media.name_of(render.file)):
        raise Cancelled(render.job.id)
    with tracing.span("storage.write") as write:
        stored = media.put(render.file)
        write.set_attribute("size_bytes", stored.size_bytes)
    render.media, render.size_bytes = stored.name, stored.size_bytes
    span.set_attribute("rushes.media", stored.name)
