"""Credits: reserved when a video is accepted, settled when it is delivered, refunded when it isn't.

Every function works in the caller's transaction, because a reservation without its job (or a job without its
reservation) must not exist. Each starts with an UPDATE, which takes the write lock on SQLite and the key's row on
PostgreSQL, so that two submissions can't spend the same credit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from rushes.studio.keys.errors import InsufficientCreditsError
from rushes.studio.keys.table import api_keys, credit_ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CREDITS: Final = 10**15
"""What a key can have: sums of it stay whole numbers in every database, and in JSON."""


def credits_for(seconds: float, model: str, prices: Mapping[str, int]) -> int:
    """Credits that `seconds` of video cost: each begun second at the model's price.

    Raises:
        ValueError: no price is known for the model.
    """
    if model not in prices:
        msg = f"no price for model {model!r}; prices are set for {', '.join(sorted(prices)) or 'none'}"
        raise ValueError(msg)
    return math.ceil(seconds) * prices[model]


def reserve(conn: sa.Connection, *, key_id: str, job_id: str, amount: int, at_ns: int) -> None:
    """Takes `amount` off the key's balance for a job.

    Raises:
        InsufficientCreditsError: the balance does not cover it; nothing was changed.
    """
    taken = conn.execute(
        sa.update(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.credits >= amount)
        .values(credits=api_keys.c.credits - amount, last_accepted_ns=at_ns)
    )
    if taken.rowcount != 1:
        balance = conn.execute(sa.select(api_keys.c.credits).where(api_keys.c.id == key_id)).scalar()
        raise InsufficientCreditsError(amount, int(balance or 0))
    _book(conn, key_id=key_id, job_id=job_id, kind="reserve", amount=-amount, at_ns=at_ns)


def settle(conn: sa.Connection, *, key_id: str, job_id: str, reserved: int, charged: int, at_ns: int) -> None:
    """Ends a reservation by charging `charged` of it; the rest goes back.

    Raises:
        ValueError: `charged` is negative or more than was reserved.
    """
    if not 0 <= charged <= reserved:
        msg = f"can't charge {charged} credits: {reserved} were reserved"
        raise ValueError(msg)
    _give(conn, key_id, reserved - charged)
    _book(conn, key_id=key_id, job_id=job_id, kind="settle", amount=reserved - charged, at_ns=at_ns)


def refund(conn: sa.Connection, *, key_id: str, job_id: str, amount: int, at_ns: int) -> None:
    """Gives a whole reservation back."""
    _give(conn, key_id, amount)
    _book(conn, key_id=key_id, job_id=job_id, kind="refund", amount=amount, at_ns=at_ns)


def grant(conn: sa.Connection, *, key_id: str, amount: int, at_ns: int) -> None:
    """Adds credits to a key's balance.

    Raises:
        ValueError: the key would have more than `MAX_CREDITS`; nothing was changed.
    """
    given = 0
    if amount <= MAX_CREDITS:  # else it may be more than a column takes
        fits = sa.and_(api_keys.c.id == key_id, api_keys.c.credits <= MAX_CREDITS - amount)
        more = sa.update(api_keys).where(fits).values(credits=api_keys.c.credits + amount)
        given = conn.execute(more).rowcount
    if given != 1:
        msg = f"a key can have {MAX_CREDITS} credits at most"
        raise ValueError(msg)
    _book(conn, key_id=key_id, job_id=None, kind="grant", amount=amount, at_ns=at_ns)


def _give(conn: sa.Connection, key_id: str, amount: int) -> None:
    conn.execute(
        sa.update(api_keys).where(api_keys.c.id == key_id).values(credits=api_keys.c.credits + amount)
    )


def _book(
    conn: sa.Connection, *, key_id: str, job_id: str | None, kind: str, amount: int, at_ns: int
) -> None:
    conn.execute(
        sa.insert(credit_ledger).values(key_id=key_id, job_id=job_id, kind=kind, amount=amount, at_ns=at_ns)
    )
