"""POST /api/v1/write: Prometheus' remote write over HTTP, both versions of the protocol.

What can never be taken is 400, so that the sender goes on with the next samples; what could be taken later is 503.
The reply says how much was written, as 2.0 demands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from rushes.ingest.batch import Batch
from rushes.ingest.bodies import RETRY_S, TooSlow, read, reason_of, status_of
from rushes.ingest.columns import Clockwork
from rushes.ingest.inflate import unsnapped
from rushes.ingest.limits import BodyTooLarge, Overloaded, UndecodableBody
from rushes.ingest.receiver import Receiver, Written
from rushes.ingest.remote_write import take_request, take_write_request
from rushes.store.interface import StoreError

__all__ = ["remote_write_routes"]

_SIGNAL: Final = "remote_write"
_V1: Final = "prometheus.WriteRequest"
_V2: Final = "io.prometheus.write.v2.Request"
_TAKE: Final[dict[str, Callable[[bytes, Batch, Clockwork], None]]] = {
    _V1: take_write_request,
    _V2: take_request,
}
_ASKED: Final = "X-Prometheus-Remote-Write-{}-Written"


def remote_write_routes(receiver: Receiver) -> list[BaseRoute]:
    """The route, where Prometheus has it."""

    async def write(request: Request) -> Response:
        take = _take(request.headers.get("content-type", ""))
        if take is None:
            receiver.refuse(_SIGNAL, "unsupported")
            return _error(
                415, f"content-type must be application/x-protobuf, with ;proto={_V1} or ;proto={_V2} or none"
            )
        # Old senders of 1.0 don't name the only encoding that there is.
        encoding = request.headers.get("content-encoding", "").strip().lower() or "snappy"
        if encoding != "snappy":
            receiver.refuse(_SIGNAL, "unsupported")
            return _error(415, f"content-encoding must be snappy, not {encoding!r}")
        try:
            with receiver.admission.body() as held:
                packed = await read(request, receiver, _SIGNAL, "identity", held)
                try:
                    body = unsnapped(packed, receiver.limits.body_bytes)
                    held(len(body))
                    written = await receiver.write(_SIGNAL, body, lambda b, clock: take(body, b, clock))
                except (UndecodableBody, BodyTooLarge) as error:
                    receiver.refuse(_SIGNAL, reason_of(error))
                    raise
        except (
            BodyTooLarge,
            UndecodableBody,
            Overloaded,
            TooSlow,
            ClientDisconnect,
            StoreError,
        ) as error:
            status, message = status_of(error, overloaded=503)
            return _counted(_error(status, message), None)
        if written.refusals.total:
            return _counted(_error(400, written.refusals.message("samples")), written)
        return _counted(Response(status_code=204), written)

    return [Route("/api/v1/write", write, methods=["POST"])]


def _take(content_type: str) -> Callable[[bytes, Batch, Clockwork], None] | None:
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    if kind.lower() not in ("application/x-protobuf", ""):
        return None
    proto = _V1
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "proto":
            proto = value.strip().strip('"')
    return _TAKE.get(proto)


def _counted(response: Response, written: Written | None) -> Response:
    counts = (0, 0, 0) if written is None else written[:3]
    for name, count in zip(("Samples", "Histograms", "Exemplars"), counts, strict=True):
        response.headers[_ASKED.format(name)] = str(count)
    return response


def _error(status: int, message: str) -> Response:
    response = PlainTextResponse(message + "\n", status_code=status)
    if status == 503:  # noqa: PLR2004
        response.headers["retry-after"] = str(RETRY_S)
    return response
