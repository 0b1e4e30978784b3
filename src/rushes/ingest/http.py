"""OTLP over HTTP: POST /v1/traces, /v1/metrics, /v1/logs, as the OTLP specification demands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs are published
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rushes.ingest.bodies import RETRY_S, TooSlow, read, reason_of, status_of
from rushes.ingest.inflate import ENCODINGS
from rushes.ingest.limits import BodyTooLarge, Overloaded, UndecodableBody
from rushes.ingest.otlp_json import parse_json
from rushes.ingest.receiver import Receiver, Signal
from rushes.store.interface import StoreError

__all__ = ["routes"]

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics", "logs")
_INVALID_ARGUMENT: Final = 3  # google.rpc.Code
_CODES: Final = {413: 8, 429: 8, 503: 14, 500: 13}


def routes(receiver: Receiver) -> list[BaseRoute]:
    """The three routes, for a Starlette application of their own or beside others."""
    return [Route(f"/v1/{signal}", _endpoint(receiver, signal), methods=["POST"]) for signal in _SIGNALS]


def _endpoint(receiver: Receiver, signal: Signal) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        named = request.headers.get("content-encoding", "").strip().lower() or "identity"
        if kind not in (_PROTOBUF, _JSON):
            message = f"content-type must be {_PROTOBUF} or {_JSON}, not {kind!r}"
            receiver.refuse(signal, "unsupported")
            return _error(415, message, _PROTOBUF)
        encoding = next((each for each in ENCODINGS if each == named), None)
        if encoding is None:
            receiver.refuse(signal, "unsupported")
            return _error(415, f"content-encoding must be gzip, zstd or none, not {named!r}", kind)
        try:
            with receiver.admission.body() as held:
                body = await read(request, receiver, signal, encoding, held)
                try:
                    reply = await receiver.receive(signal, body, parse_json if kind == _JSON else None)
                except (UndecodableBody, BodyTooLarge) as error:
                    receiver.refuse(signal, reason_of(error))
                    raise
        except (
            BodyTooLarge,
            UndecodableBody,
            Overloaded,
            TooSlow,
            ClientDisconnect,
            StoreError,
        ) as error:
            status, message = status_of(error, overloaded=429)
            return _error(status, message, kind)
        return Response(_encoded(reply, kind), media_type=kind)

    return export


def _encoded(message: Message, kind: str) -> bytes:
    if kind == _JSON:
        # No ids in replies: protobuf's own JSON is right for them.
        return json_format.MessageToJson(message, indent=None).encode()
    return message.SerializeToString()


def _error(status: int, message: str, kind: str) -> Response:
    content = _encoded(Status(code=_CODES.get(status, _INVALID_ARGUMENT), message=message), kind)
    response = Response(content, status_code=status, media_type=kind)
    if status in (429, 503):
        response.headers["retry-after"] = str(RETRY_S)
    return response
