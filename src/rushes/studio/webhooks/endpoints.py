"""Each key's endpoint: its URL and its secret, encrypted like the prompts, since both must be had again to be used."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa
from cryptography.fernet import Fernet

from rushes.studio.webhooks.signature import new_secret
from rushes.studio.webhooks.table import endpoints, outbox

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a key's messages go, and what they are signed with. Neither shows in a `repr`."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


class Endpoints:
    """The endpoints in one database."""

    def __init__(
        self, engine: sa.Engine, *, prompt_key: bytes, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """`engine` comes from `rushes.studio.jobs.open_database`, `prompt_key` encrypts prompts too."""
        self._engine = engine
        self._fernet = Fernet(prompt_key)
        self._clock = clock

    def set(self, key_id: str, url: str) -> Endpoint:
        """Gives a key an endpoint in place of the one it may have; the URL must have passed `check_url`."""
        endpoint = Endpoint(url, new_secret())
        text = json.dumps({"url": endpoint.url, "secret": endpoint.secret})
        row = {"encrypted": self._fernet.encrypt(text.encode()), "created_ns": self._clock()}
        with self._engine.begin() as conn:
            changed = conn.execute(sa.update(endpoints).where(endpoints.c.key_id == key_id).values(**row))
            if changed.rowcount == 0:
                conn.execute(sa.insert(endpoints).values(key_id=key_id, **row))
        return endpoint

    def get(self, key_id: str) -> Endpoint | None:
        """A key's endpoint.

        Raises:
            cryptography.fernet.InvalidToken: it was encrypted with another key.
        """
        with self._engine.connect() as conn:
            encrypted = conn.execute(
                sa.select(endpoints.c.encrypted).where(endpoints.c.key_id == key_id)
            ).scalar()
        return None if encrypted is None else Endpoint(**json.loads(self._fernet.decrypt(encrypted)))

    def remove(self, key_id: str) -> bool:
        """Forgets a key's endpoint and what was still to be sent there; whether there was one."""
        with self._engine.begin() as conn:
            gone = conn.execute(sa.delete(endpoints).where(endpoints.c.key_id == key_id))
            conn.execute(sa.delete(outbox).where(outbox.c.key_id == key_id))
        return gone.rowcount == 1
