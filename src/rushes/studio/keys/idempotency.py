"""Idempotency keys: which video a request made, so that the same request sent again makes no second one.

What is kept of a request are two keyed hashes: of its idempotency key, and of all that it asks for. Neither can be
turned back into the prompt, nor guessed without the key of the hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rushes.studio.keys.table import idempotency_keys as table

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_NS: Final = 24 * 3600 * 1_000_000_000


class AlreadySubmittedError(Exception):
    """The key was used by another submission, which has just been accepted."""


class Submitted(NamedTuple):
    """The video that a request made earlier, and whether that request asked for the same."""

    job_id: str
    same: bool


class Repeatable(NamedTuple):
    """A request that can be told from others, and from itself sent again."""

    key_id: str
    name: str
    fingerprint: str

    @classmethod
    def of(cls, key_id: str, name: str, fields: Mapping[str, object], *, hash_key: bytes) -> Repeatable:
        """The request of an API key under an idempotency key; `fields` may hold texts, numbers, bytes, JSON."""
        asked = json.dumps(fields, sort_keys=True, default=_as_text)
        return cls(key_id, _hash(hash_key, "name", name), _hash(hash_key, "request", asked))

    def find(self, engine: sa.Engine, *, at_ns: int) -> Submitted | None:
        """What the idempotency key stands for; None if it is new, or was used more than 24 hours before `at_ns`."""
        query = sa.select(table.c.job_id, table.c.fingerprint).where(
            table.c.key_id == self.key_id, table.c.name == self.name, table.c.at_ns > at_ns - KEPT_NS
        )
        with engine.connect() as conn:
            row = conn.execute(query).one_or_none()
        if row is None:
            return None
        return Submitted(row.job_id, hmac.compare_digest(row.fingerprint, self.fingerprint))

    def remember(self, conn: sa.Connection, job_id: str, *, at_ns: int) -> None:
        """Notes, in the transaction that creates the job, that the idempotency key now stands for it.

        Raises:
            AlreadySubmittedError: it stands for another one.
        """
        old = (table.c.key_id == self.key_id, table.c.name == self.name, table.c.at_ns <= at_ns - KEPT_NS)
        conn.execute(sa.delete(table).where(*old))
        row = {"name": self.name, "fingerprint": self.fingerprint, "job_id": job_id, "at_ns": at_ns}
        try:
            conn.execute(sa.insert(table).values(key_id=self.key_id, **row))
        except IntegrityError:
            raise AlreadySubmittedError(self.name) from None


def forget_old(engine: sa.Engine, *, at_ns: int) -> None:
    """Removes what is older than 24 hours."""
    with engine.begin() as conn:
        conn.execute(sa.delete(table).where(table.c.at_ns <= at_ns - KEPT_NS))


def _hash(key: bytes, kind: str, text: str) -> str:
    return hmac.new(key, f"{kind}\0{text}".encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return f"sha256:{hashlib.sha256(value).hexdigest()}"
    raise TypeError(f"a request's field can't be {type(value).__name__}")
