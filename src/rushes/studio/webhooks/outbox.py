"""Messages that are to be sent: noted in the transaction that ends the job, gone once they were taken.

A message is sent by whoever has claimed it, for a while; if that process dies between sending and noting so, it is
sent again under the same id, by which its receiver knows it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from rushes.studio.keys.table import api_keys
from rushes.studio.webhooks.table import endpoints, outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from rushes.studio.jobs import Job

_CLAIM_NS: Final = 60 * 1_000_000_000  # longer than any delivery takes
_LONGEST_PAUSE_S: Final = 8 * 3600.0
_S: Final = 1_000_000_000


def note_end(conn: sa.Connection, job: Job) -> None:
    """Notes, in the transaction that ends the job, that its key's endpoint is to be told; if it has one."""
    at_ns = job.finished_ns or time.time_ns()
    values = {
        "id": sa.literal(secrets.token_hex(16)),
        "key_id": endpoints.c.key_id,
        "job_id": sa.literal(job.id),
        "type": sa.literal(f"video.{job.state.value}"),
        "created_ns": sa.literal(at_ns, sa.BigInteger),
        "attempt": sa.literal(0),
        "due_ns": sa.literal(at_ns, sa.BigInteger),
        "claimed_until_ns": sa.literal(0, sa.BigInteger),
    }
    wanted = (
        sa.select(*values.values())
        .join(api_keys, api_keys.c.id == endpoints.c.key_id)
        .where(endpoints.c.key_id == job.key_id, api_keys.c.active.is_(sa.true()))
    )
    conn.execute(sa.insert(outbox).from_select(list(values), wanted))


@dataclass(frozen=True, slots=True)
class Message:
    """A claimed message; `attempt` counts from 1."""

    id: str
    key_id: str
    job_id: str
    type: str
    created_ns: int
    attempt: int

    @property
    def header_id(self) -> str:
        """The same each time it is sent."""
        return f"wh_{self.id}"

    @property
    def body(self) -> bytes:
        """OpenAI's event, as JSON."""
        event = {
            "id": f"evt_{self.id}",
            "object": "event",
            "created_at": self.created_ns // _S,
            "type": self.type,
            "data": {"id": self.job_id},
        }
        return json.dumps(event).encode()


class Outbox:
    """The messages in one database, for any number of gateways."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        retry_s: float = 5.0,
        give_up_s: float = 72 * 3600.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Args:
        engine: from `rushes.studio.jobs.open_database`.
        retry_s: the first pause after a failure; each further one is twice as long, up to 8 hours.
        give_up_s: how long after the job's end a message is still sent.
        clock: Unix nanoseconds.
        """
        self._engine = engine
        self._retry_s = retry_s
        self._give_up_s = give_up_s
        self._clock = clock

    def claim(self) -> Message | None:
        """A message that is due, for this caller alone for a minute; one of each key at a time."""
        now = self._clock()
        free = (outbox.c.due_ns <= now, outbox.c.claimed_until_ns <= now)
        claimed = outbox.alias()
        busy = sa.select(claimed.c.key_id).where(claimed.c.claimed_until_ns > now)
        due = sa.select(outbox.c.id).where(*free, outbox.c.key_id.not_in(busy)).order_by(outbox.c.due_ns)
        with self._engine.connect() as conn:  # a look takes no lock
            found = conn.execute(due.limit(1)).scalar()
        if found is None:
            return None
        change = {"claimed_until_ns": now + _CLAIM_NS, "attempt": outbox.c.attempt + 1}
        with self._engine.begin() as conn:
            row = conn.execute(
                sa.update(outbox).where(outbox.c.id == found, *free).values(change).returning(*outbox.c)
            ).one_or_none()
        if row is None:
            return None
        return Message(row.id, row.key_id, row.job_id, row.type, row.created_ns, row.attempt)

    def remove(self, message: Message) -> None:
        """It was taken, or nobody wants it any more."""
        with self._engine.begin() as conn:
            conn.execute(sa.delete(outbox).where(*_held(message)))

    def retry(self, message: Message) -> float | None:
        """It was not taken: the seconds until it is sent again, or None if it has been given up."""
        pause_s = self._pause_s(message)
        due_ns = self._clock() + round(pause_s * _S)
        if due_ns > message.created_ns + round(self._give_up_s * _S):
            self.remove(message)
            return None
        change = {"due_ns": due_ns, "claimed_until_ns": 0}
        with self._engine.begin() as conn:
            conn.execute(sa.update(outbox).where(*_held(message)).values(change))
        return pause_s

    def _pause_s(self, message: Message) -> float:
        """Spread by a fifth, so that what failed together does not come again together."""
        digest = hashlib.sha256(f"{message.id}.{message.attempt}".encode()).digest()
        spread = 0.9 + 0.2 * int.from_bytes(digest[:4], "big") / 2**32
        return min(_LONGEST_PAUSE_S, self._retry_s * 2.0 ** min(message.attempt - 1, 40)) * spread


def _held(message: Message) -> tuple[sa.ColumnElement[bool], ...]:
    return outbox.c.id == message.id, outbox.c.attempt == message.attempt
