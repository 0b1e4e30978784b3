"""The threads that deliver webhooks: a few, so that one endpoint that does not answer holds up nobody else's."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from cryptography.fernet import InvalidToken

from rushes.sdk import instruments, logs
from rushes.studio.webhooks.address import AddressRefusedError
from rushes.studio.webhooks.post import DeliveryError
from rushes.studio.webhooks.signature import signed_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from rushes.studio.webhooks.endpoints import Endpoint, Endpoints
    from rushes.studio.webhooks.outbox import Message, Outbox
    from rushes.studio.webhooks.post import Sender

_LOG: Final = logs.get_logger("webhooks")
_STOP_S: Final = 2.0


class Deliverer:
    """Sends what is due; `deliver_one` is one message."""

    def __init__(
        self,
        outbox: Outbox,
        endpoints: Endpoints,
        sender: Sender,
        *,
        threads: int = 4,
        pause_s: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`pause_s` is how often each thread looks while there is nothing to do; `clock` gives Unix seconds."""
        self._outbox = outbox
        self._endpoints = endpoints
        self._sender = sender
        self._pause_s = pause_s
        self._clock = clock
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"rushes-webhooks-{n}", daemon=True)
            for n in range(threads)
        ]

    def start(self) -> None:
        """Begins to deliver."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends it; what is on its way for longer than a moment is sent again by the next process."""
        self._stop.set()
        deadline = time.monotonic() + _STOP_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def deliver_one(self) -> bool:
        """Sends one message that is due; False if there is none."""
        message = self._outbox.claim()
        if message is None:
            return False
        try:
            endpoint = self._endpoints.get(message.key_id)
            if endpoint is None:
                self._outbox.remove(message)  # it was taken away meanwhile
                return True
            self._send(message, endpoint)
        except InvalidToken:
            self._failed(message, "its secret was encrypted with another prompt key; restore that key")
        except (AddressRefusedError, DeliveryError) as error:
            self._failed(message, str(error))
        else:
            self._outbox.remove(message)
            instruments.rushes_webhook_deliveries_total.add(1, outcome="delivered")
        return True

    def _send(self, message: Message, endpoint: Endpoint) -> None:
        body = message.body
        signed = signed_headers(
            endpoint.secret, message_id=message.header_id, sent_s=int(self._clock()), body=body
        )
        headers = {"content-type": "application/json", "user-agent": "Rushes-Webhooks/1.0"}
        self._sender.post(endpoint.url, body, headers | signed)

    def _failed(self, message: Message, why: str) -> None:
        pause_s = self._outbox.retry(message)
        given_up = pause_s is None
        instruments.rushes_webhook_deliveries_total.add(1, outcome="given_up" if given_up else "failed")
        tell = _LOG.error if given_up else _LOG.warning
        tell(
            "webhook.given_up" if given_up else "webhook.failed",
            request_id=message.job_id,
            key_id=message.key_id,
            error=why,
        )

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self.deliver_one():
                    continue
            except Exception as error:  # noqa: BLE001 - the database may be back the next time
                _LOG.error("log.message", error=f"delivering webhooks failed: {type(error).__name__}")
            self._stop.wait(self._pause_s)
