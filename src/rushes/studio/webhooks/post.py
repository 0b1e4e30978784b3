"""One HTTP request with a webhook's message: to an address that was checked, within a time, following nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import httpcore

from rushes.studio.webhooks.address import resolve

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

_ANSWER_LIMIT: Final = 1024


class DeliveryError(Exception):
    """The message was not taken. The text says why, without the URL and without what was answered."""


class Sender:
    """Posts to other people's servers. May be used from several threads."""

    def __init__(
        self, *, private: bool, timeout_s: float = 10.0, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Args:
        private: whether addresses that are not public may be sent to.
        timeout_s: for the whole request, from connecting to the end of the answer.
        ssl_context: whom to trust; by default certifi's authorities and those of this machine.
        """
        self._private = private
        self._timeout_s = timeout_s
        if ssl_context is None:
            ssl_context = httpcore.default_ssl_context()
            ssl_context.load_default_certs()
        self._ssl_context = ssl_context

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Sends it. No redirect is followed, and of the answer's body no more than 1 KiB is read.

        Raises:
            AddressRefusedError: the address is private.
            DeliveryError: the answer was none of 2xx, or none came in time.
        """
        network = _Network(time.monotonic() + self._timeout_s, private=self._private)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self._ssl_context, network_backend=network) as pool,
                pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
            ):
                status = response.status
                read = 0
                for part in response.iter_stream():
                    read += len(part)
                    if read >= _ANSWER_LIMIT:
                        break
        except httpcore.TimeoutException:
            raise DeliveryError(f"it did not answer within {self._timeout_s:g} s") from None
        except (httpcore.ConnectError, OSError):
            raise DeliveryError("it can't be connected to") from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise DeliveryError("it broke the connection off") from None
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
            raise DeliveryError(f"it answered {status}")


class _Network(httpcore.NetworkBackend):
    """Connects to the address that was checked, and gives everything together no more time than is left."""

    def __init__(self, deadline: float, *, private: bool) -> None:
        self._deadline = deadline
        self._private = private
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline settles it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        address = resolve(host, port, private=self._private)
        stream = self._sockets.connect_tcp(
            address, port, _left(self._deadline), local_address, socket_options
        )
        return _Stream(stream, self._deadline)


class _Stream(httpcore.NetworkStream):
    """A stream of which every operation ends by the deadline: one that drips can't hold a thread."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.TimeoutException("the deadline has passed")
    return left
