"""Ports: a free one for 0, and a clear word when the one asked for is taken."""

from __future__ import annotations

import socket

__all__ = ["PortTaken", "reserve"]


class PortTaken(Exception):  # noqa: N818 - says what is the case
    """Somebody listens there already."""


def reserve(host: str, port: int, flag: str) -> int:
    """The port itself, or a free one for 0. Raises PortTaken, naming the flag that chooses another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"port {port} on {host} can't be used ({error.strerror}); "
                f"stop what listens there or choose another with {flag} (0 picks a free one)"
            ) from None
        return int(probe.getsockname()[1])
