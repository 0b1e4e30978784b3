"""How much a client may send: everything beyond is refused with its reason, and never costs the process."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Final

__all__ = ["BodyTooLarge", "Limits", "UndecodableBody", "inflated"]

_GZIP: Final = 16 + zlib.MAX_WBITS


class BodyTooLarge(Exception):  # noqa: N818  says what happened
    """The body is larger than allowed, as sent or after inflation."""


class UndecodableBody(Exception):  # noqa: N818  says what happened
    """The body isn't what its headers say."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What ingest accepts.

    Attributes:
        body_bytes: size of a request after inflation.
        value_length: characters of an attribute's value; longer ones are cut.
        attributes: attributes of a span or log record; further ones are dropped.
        labels: labels of a series, job and instance included; a point with more is refused.
        series_per_metric: distinct series that a metric may have within `series_active_s`.
        series_active_s: seconds without a sample after which a series no longer counts.
        future_s: how far ahead of this clock a timestamp may be, in seconds.
        pending: requests that may wait for the store at once.
    """

    body_bytes: int = 20 << 20
    value_length: int = 4096
    attributes: int = 256
    labels: int = 64
    series_per_metric: int = 50_000
    series_active_s: int = 7200
    future_s: int = 600
    pending: int = 64


async def inflated(chunks: AsyncIterable[bytes], *, gzip: bool, limit: int) -> bytes:
    """The body of a request, inflated piece by piece, so that a bomb stops at `limit` bytes.

    Raises:
        BodyTooLarge: more than `limit` bytes, as sent or after inflation.
        UndecodableBody: not gzip, or cut off.
    """
    body = bytearray()
    received = 0
    inflater = zlib.decompressobj(_GZIP) if gzip else None
    started = False
    async for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise BodyTooLarge(f"the body has more than {limit} bytes")
        if inflater is None:
            body += chunk
            continue
        data = chunk
        while data:
            if inflater.eof:  # gzip allows several members, one after another
                inflater = zlib.decompressobj(_GZIP)
            try:
                body += inflater.decompress(data, limit + 1 - len(body))
            except zlib.error as error:
                raise UndecodableBody(f"the body is not gzip: {error}") from error
            if len(body) > limit:
                raise BodyTooLarge(f"the body has more than {limit} bytes after inflation")
            started = True
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if inflater is not None and started and not inflater.eof:
        raise UndecodableBody("the gzip body is cut off")
    return bytes(body)
