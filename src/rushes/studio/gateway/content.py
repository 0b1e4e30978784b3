"""Sending a video's file, whole or the part that a player asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from rushes.studio.gateway.errors import ApiError, bad_value, no_such_video, shown
from rushes.studio.jobs import JobState
from rushes.studio.storage import NoSuchObject, StorageError

if TYPE_CHECKING:
    from starlette.requests import Request

    from rushes.studio.gateway.protocols import VideoMedia
    from rushes.studio.jobs import Job

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def content_response(request: Request, job: Job, media: VideoMedia) -> Response:
    """The video's bytes.

    Raises:
        ApiError: another variant was asked for (400), the video isn't there yet or never will be (409), is gone
            (404), the range lies outside of it (416), or the storage can't be reached (503).
    """
    variant = request.query_params.get("variant", "video")
    if variant != "video":
        raise bad_value("variant", f"variant {shown(variant)} is not available; the only one is 'video'")
    if job.state is not JobState.COMPLETED or job.media is None:
        raise _not_ready(job)
    try:
        size = (await run_in_threadpool(media.head, job.media)).size_bytes
        etag = f'"{job.media}"'
        wanted = request.headers.get("range") if request.headers.get("if-range", etag) == etag else None
        span = _span(wanted, size)
        headers = {
            "accept-ranges": "bytes",
            "etag": etag,
            "cache-control": "private",
            "content-disposition": f'inline; filename="{job.id}.mp4"',
        }
        if span is None:
            start, end, status = 0, size, 200
        else:
            (start, end), status = span, 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        headers["content-length"] = str(end - start)
        if request.method == "HEAD":  # nothing is read for a body that nobody gets
            return Response(status_code=status, headers=headers, media_type="video/mp4")
        return StreamingResponse(
            media.open(job.media, start, end), status, headers=headers, media_type="video/mp4"
        )
    except NoSuchObject:
        raise no_such_video(job.id) from None
    except StorageError:
        raise ApiError(
            503,
            "the video storage can't be reached; try again later",
            code="storage_error",
            kind="server_error",
        ) from None


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """The asked bytes `[start, end)`; None for the whole, as also for what is no single range of bytes."""
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= end:
        raise ApiError(
            416,
            f"the range lies outside of the video's {size} bytes",
            code="range_not_satisfiable",
            headers={"content-range": f"bytes */{size}"},
        )
    return start, end


def _not_ready(job: Job) -> ApiError:
    if job.terminal:
        message = f"video {job.id} has no content: it {'failed' if job.state is JobState.FAILED else 'was cancelled'}"
    else:
        message = (
            f"video {job.id} is not ready yet: it is {job.state.value}; wait until its status is completed"
        )
    # OpenAI's client takes a 409 for a lock and tries again by itself, which would change nothing.
    return ApiError(409, message, code="video_not_ready", headers={"x-should-retry": "false"})
