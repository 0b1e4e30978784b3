"""OTLP over gRPC: the three Export services, over the same receiver as HTTP."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs are published

from rushes.ingest.bodies import RETRY_S, reason_of
from rushes.ingest.limits import BodyTooLarge, Overloaded, UndecodableBody
from rushes.ingest.receiver import Receiver, Signal
from rushes.store.interface import StoreError, StoreUnavailable

__all__ = ["serve"]

_SERVICES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
}


async def serve(receiver: Receiver, address: str, *, token: str | None = None) -> tuple[Any, int]:
    """Start a server on `address` ("127.0.0.1:4317"; port 0 picks a free one).

    With a token, calls need the metadata `authorization: Bearer <token>`.

    Returns:
        The started `grpc.aio.Server` (stop it with `await server.stop(grace_s)`) and its port.

    Raises:
        OSError: the address can't be used.
    """
    limit = receiver.limits.body_bytes
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a rival
        ],
        maximum_concurrent_rpcs=2 * receiver.limits.pending + 1,
        interceptors=[] if token is None else [_Token(token)],
    )
    for signal, service in _SERVICES.items():
        # Bytes are handed on as they are: decoding belongs to the receiver's threads.
        # A call of one message is on the wire what a stream of one is, and only that one's handler is called, too,
        # when the message is larger than allowed.
        handler = grpc.stream_unary_rpc_method_handler(_export(receiver, signal))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"can't listen on {address}: {error}") from error
    await server.start()
    return server, port


class _Token(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses calls that don't carry the token."""

    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

        async def refuse(_: AsyncIterable[bytes], context: Any) -> None:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "the metadata authorization must be Bearer with this server's token",
            )

        self._refusal = grpc.stream_unary_rpc_method_handler(refuse)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        given = dict(details.invocation_metadata).get("authorization", "")
        shown = given if isinstance(given, bytes) else given.encode()
        return await continuation(details) if hmac.compare_digest(shown, self._wanted) else self._refusal


async def _received(
    messages: AsyncIterable[bytes], receiver: Receiver, signal: Signal, context: Any
) -> bytes:
    async for message in messages:
        return message
    try:
        await context.read()
    except asyncio.CancelledError:  # by grpc: for its size, or because the client has gone
        receiver.refuse(signal, "not_received")
        raise
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
    return b""


def _export(receiver: Receiver, signal: Signal) -> Callable[[AsyncIterable[bytes], Any], Awaitable[bytes]]:
    async def export(messages: AsyncIterable[bytes], context: Any) -> bytes:
        body = await _received(messages, receiver, signal, context)
        try:
            with receiver.admission.body() as held:
                held(len(body))
                reply = await receiver.receive(signal, body)
        except (UndecodableBody, BodyTooLarge) as error:
            receiver.refuse(signal, reason_of(error))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise
        except Overloaded as error:
            await _later(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            raise
        except StoreUnavailable as error:
            await _later(context, grpc.StatusCode.UNAVAILABLE, f"the store can't take it now: {error}")
            raise
        except StoreError as error:
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
            raise
        return reply.SerializeToString()

    return export


async def _later(context: Any, code: Any, message: str) -> None:
    """End the call with the news that it should be repeated, and when."""
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=RETRY_S)))
    status = Status(code=code.value[0], message=message, details=[detail])
    await context.abort(code, message, (("grpc-status-details-bin", status.SerializeToString()),))
