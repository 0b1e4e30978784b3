"""Bodies of requests, inflated piece by piece, so that a bomb stops at the limit instead of after it."""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncIterable, Callable
from typing import Any, Final, Literal, TypeAlias

from cramjam import DecompressionError, snappy

from rushes.ingest.limits import BodyTooLarge, UndecodableBody

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ENCODINGS", "Encoding", "inflated", "unsnapped", "zstd"]

Encoding: TypeAlias = Literal["identity", "gzip", "zstd"]
ENCODINGS: Final[tuple[Encoding, ...]] = ("identity", "gzip", "zstd")

_GZIP: Final = 16 + zlib.MAX_WBITS
_WINDOW_LOG: Final = (
    23  # 8 MiB, what every decoder of zstd has to offer; more is memory that a client asks for
)


async def inflated(
    chunks: AsyncIterable[bytes],
    *,
    encoding: Encoding,
    limit: int,
    hold: Callable[[int], None] = lambda _: None,
) -> bytes:
    """The body of a request.

    Args:
        chunks: the body as it comes.
        encoding: how it is packed.
        limit: how many bytes it may have, as sent and inflated.
        hold: told of each piece's size before the next one is read; may raise to stop.

    Raises:
        BodyTooLarge: more than `limit` bytes, as sent or after inflation.
        UndecodableBody: not packed that way, or cut off.
    """
    body = bytearray()
    received = 0
    inflater = None if encoding == "identity" else _inflater(encoding)
    started = False
    async for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise BodyTooLarge(f"the body has more than {limit} bytes")
        before = len(body)
        if inflater is None:
            body += chunk
        elif chunk:
            started = True
            inflater = _feed(inflater, chunk, body, encoding, limit)
        hold(len(body) - before)
    if inflater is not None and started and not inflater.eof:
        raise UndecodableBody(f"the {encoding} body is cut off")
    return bytes(body)


def unsnapped(body: bytes, limit: int) -> bytes:
    """A body in snappy's block format, as Prometheus' remote write has it.

    Raises:
        BodyTooLarge: it says that it has more than `limit` bytes inflated.
        UndecodableBody: it isn't snappy.
    """
    try:
        size = snappy.decompress_raw_len(body)
        if size > limit:
            raise BodyTooLarge(f"the body has {size} bytes after inflation, more than {limit}")
        return bytes(snappy.decompress_raw(body))
    except (DecompressionError, ValueError, OverflowError) as error:
        raise UndecodableBody(f"the body is not snappy: {error}") from error


def _inflater(encoding: Encoding) -> Any:
    if encoding == "gzip":
        return zlib.decompressobj(_GZIP)
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})


def _feed(inflater: Any, data: bytes, body: bytearray, encoding: Encoding, limit: int) -> Any:
    """Inflate a piece into the body; the inflater to go on with."""
    while True:
        if inflater.eof:  # both formats allow several members, one after another
            if not data:
                return inflater
            inflater = _inflater(encoding)
        room = limit + 1 - len(body)
        try:
            body += inflater.decompress(data, room)
        except (zlib.error, zstd.ZstdError) as error:
            raise UndecodableBody(f"the body is not {encoding}: {error}") from error
        if len(body) > limit:
            raise BodyTooLarge(f"the body has more than {limit} bytes after inflation")
        # Less than there was room for came out: what went in is used up, unless a member has ended before it.
        data = inflater.unused_data if inflater.eof else getattr(inflater, "unconsumed_tail", b"")
        if not data:
            return inflater
