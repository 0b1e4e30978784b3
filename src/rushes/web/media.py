"""Stored videos over HTTP, read-only, with byte ranges so that a player can seek.

Names are content-addressed: what a name holds never changes, so a browser may keep it for ever.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.store import LocalStore, from_url
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from obstore.store import ObjectStore
    from starlette.requests import Request

__all__ = ["MediaStore", "media_response"]

_NAME: Final = re.compile(r"sha256/([0-9a-f]{2})/\1[0-9a-f]{62}\.mp4")
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_CHUNK: Final = 256 * 1024
_DIGITS: Final = 18


class MediaStore:
    """Videos by name in a folder or an object store.

    Args:
        url: a folder's path, or a URL that obstore knows (file, s3, gs, az). The folder need not exist yet.
    """

    def __init__(self, url: str) -> None:
        self._folder = (
            Path(url.removeprefix("file://")) if url.startswith("file://") or "://" not in url else None
        )
        self._url = url
        self._store: ObjectStore | None = None

    def _open(self) -> ObjectStore | None:
        if self._store is None:
            if self._folder is None:
                self._store = from_url(self._url)
            elif self._folder.is_dir():
                self._store = LocalStore(self._folder)
        return self._store

    async def size(self, name: str) -> int | None:
        """The video's size in bytes, or None where there is none of that name or the name is no video's."""
        if not _NAME.fullmatch(name) or (store := self._open()) is None:
            return None
        try:
            meta = await obstore.head_async(store, name)
        except FileNotFoundError:
            return None
        return int(meta["size"])

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The video's bytes from `start` up to but without `end`, of a name that `size` has confirmed."""
        store = self._open()
        if store is None or start >= end:
            return
        result = await obstore.get_async(store, name, options={"range": (start, end)})
        async for chunk in result.stream(min_chunk_size=_CHUNK):
            yield bytes(chunk)


async def media_response(media: MediaStore | None, name: str, request: Request) -> Response:
    """Answers GET and HEAD for a video: whole, or the one byte range asked for.

    Raises:
        HTTPException: 404 where there is no such video, 416 where the range lies outside it.
    """
    size = await media.size(name) if media else None
    if media is None or size is None:
        raise HTTPException(404, "there is no stored video of this name")
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=31536000, immutable",
        "etag": f'"{name[-68:-4]}"',
    }
    if request.headers.get("if-none-match") in (headers["etag"], "*"):
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    condition = request.headers.get("if-range")
    span = _span(wanted, size) if wanted and condition in (None, headers["etag"]) else None
    start, end = span or (0, size)
    headers["content-length"] = str(end - start)
    if span:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if span else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="video/mp4")
    return StreamingResponse(media.read(name, start, end), status, headers, media_type="video/mp4")


def _span(header: str, size: int) -> tuple[int, int] | None:
    """The range's first byte and the one after its last; None for a header to ignore (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or header.strip() == "bytes=-" or max(map(len, match.groups())) > _DIGITS:
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None
    if start >= end:
        raise HTTPException(
            416, "the byte range lies outside the video", {"content-range": f"bytes */{size}"}
        )
    return start, end
