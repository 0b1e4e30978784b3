"""How a request's body is read, and what its failures are called in HTTP."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request

from rushes.ingest.admission import Held
from rushes.ingest.inflate import Encoding, inflated
from rushes.ingest.limits import BodyTooLarge, Overloaded, UndecodableBody
from rushes.ingest.receiver import Receiver
from rushes.store.interface import StoreUnavailable

__all__ = ["RETRY_S", "TooSlow", "read", "reason_of", "status_of"]

RETRY_S: Final = 5
"""Seconds after which a client should repeat what could not be taken."""


class TooSlow(Exception):  # noqa: N818  says what happened
    """The client took too long to send its body."""


async def read(request: Request, receiver: Receiver, signal: str, encoding: Encoding, held: Held) -> bytes:
    """The request's body, inflated.

    Raises:
        BodyTooLarge, UndecodableBody, TooSlow, Overloaded: counted already.
        ClientDisconnect: the client went away.
    """
    limits = receiver.limits
    try:
        async with asyncio.timeout(limits.body_s):
            return await inflated(request.stream(), encoding=encoding, limit=limits.body_bytes, hold=held)
    except TimeoutError as error:
        receiver.refuse(signal, "too_slow")
        raise TooSlow(f"the body was not complete after {limits.body_s} s") from error
    except (BodyTooLarge, UndecodableBody, Overloaded) as error:
        receiver.refuse(signal, reason_of(error))
        raise


def reason_of(error: Exception) -> str:
    """What a request that is refused whole is counted under."""
    return _REASONS[type(error)]


_STATUS: Final[tuple[tuple[type[Exception], int | None], ...]] = (
    (BodyTooLarge, 413),
    (UndecodableBody, 400),
    (TooSlow, 408),
    (Overloaded, None),
    (StoreUnavailable, 503),
    (ClientDisconnect, 400),
)

_REASONS: Final[dict[type[Exception], str]] = {
    BodyTooLarge: "too_large",
    UndecodableBody: "undecodable",
    Overloaded: "overloaded",
}


def status_of(error: Exception, *, overloaded: int) -> tuple[int, str]:
    """The status code and the text for a request that failed.

    Args:
        error: why.
        overloaded: the status that makes this kind of client come back later.
    """
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    return status or overloaded, str(error)
