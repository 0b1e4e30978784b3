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

from rushes.ingest.limits import BodyTooLarge, UndecodableBody, inflated
from rushes.ingest.otlp_json import parse_json
from rushes.ingest.receiver import Receiver, Signal
from rushes.store.interface import StoreError, StoreUnavailable

__all__ = ["routes"]

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_RETRY_S: Final = "5"
_SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics", "logs")
# google.rpc.Code
_INVALID_ARGUMENT: Final = 3
_RESOURCE_EXHAUSTED: Final = 8
_INTERNAL: Final = 13
_UNAVAILABLE: Final = 14


def routes(receiver: Receiver) -> list[BaseRoute]:
    """The three routes, for a Starlette application of their own or beside others."""
    return [Route(f"/v1/{signal}", _endpoint(receiver, signal), methods=["POST"]) for signal in _SIGNALS]


def _endpoint(receiver: Receiver, signal: Signal) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = request.headers.get("content-encoding", "").strip().lower() or "identity"
        if kind not in (_PROTOBUF, _JSON):
            message = f"content-type must be {_PROTOBUF} or {_JSON}, not {kind!r}"
            return _error(415, _INVALID_ARGUMENT, message, _PROTOBUF)
        if encoding not in ("gzip", "identity"):
            message = f"content-encoding must be gzip or none, not {encoding!r}"
            return _error(415, _INVALID_ARGUMENT, message, kind)
        try:
            body = await inflated(request.stream(), gzip=encoding == "gzip", limit=receiver.limits.body_bytes)
            reply = await receiver.receive(signal, body, parse_json if kind == _JSON else None)
        except (BodyTooLarge, UndecodableBody, ClientDisconnect, StoreError) as error:
            if isinstance(error, BodyTooLarge | UndecodableBody):
                reason = "too_large" if isinstance(error, BodyTooLarge) else "undecodable"
                receiver.refuse(signal, reason)
            return _refusal(error, kind)
        return Response(_encoded(reply, kind), media_type=kind)

    return export


def _refusal(error: Exception, kind: str) -> Response:
    match error:
        case BodyTooLarge():
            response = _error(413, _RESOURCE_EXHAUSTED, str(error), kind)
        case UndecodableBody():
            response = _error(400, _INVALID_ARGUMENT, str(error), kind)
        case StoreUnavailable():
            response = _error(503, _UNAVAILABLE, f"the store can't take it now: {error}", kind)
            response.headers["retry-after"] = _RETRY_S
        case StoreError():
            response = _error(500, _INTERNAL, str(error), kind)
        case _:
            response = _error(
                400, _INVALID_ARGUMENT, "the client went away before its body was complete", kind
            )
    return response


def _encoded(message: Message, kind: str) -> bytes:
    if kind == _JSON:
        # No ids in replies: protobuf's own JSON is right for them.
        return json_format.MessageToJson(message, indent=None).encode()
    return message.SerializeToString()


def _error(status: int, code: int, message: str, kind: str) -> Response:
    content = _encoded(Status(code=code, message=message), kind)
    return Response(content, status_code=status, media_type=kind)
