"""Webhooks: a signed message to a key's own endpoint when a video has ended, as OpenAI sends them."""

from rushes.studio.webhooks.address import AddressRefusedError, check_url
from rushes.studio.webhooks.deliverer import Deliverer
from rushes.studio.webhooks.endpoints import Endpoint, Endpoints
from rushes.studio.webhooks.outbox import Message, Outbox, note_end
from rushes.studio.webhooks.post import DeliveryError, Sender
from rushes.studio.webhooks.signature import new_secret, signed_headers

__all__ = [
    "AddressRefusedError",
    "Deliverer",
    "DeliveryError",
    "Endpoint",
    "Endpoints",
    "Message",
    "Outbox",
    "Sender",
    "check_url",
    "new_secret",
    "note_end",
    "signed_headers",
]
