"""The daily quota: how many videos a key had accepted since 00:00 UTC, counted in the accepting transaction."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rushes.studio.keys.errors import QuotaExceededError
from rushes.studio.keys.rate import Left
from rushes.studio.keys.table import quota_usage

if TYPE_CHECKING:
    from rushes.studio.keys.key import ApiKey

_NS: Final = 1_000_000_000


def consume_quota(conn: sa.Connection, key: ApiKey, *, at_ns: int) -> None:
    """Counts one more video of today in the caller's transaction.

    Raises:
        QuotaExceededError: today's videos are used up; nothing was changed.
    """
    day = _day(at_ns)
    if _count_one(conn, key, day):
        return
    if quota_used(conn, key.id, at_ns=at_ns) is not None or key.quota_per_day < 1:
        raise exceeded(key, at_ns=at_ns)
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(quota_usage).values(key_id=key.id, day=day, videos=1))
    except IntegrityError:  # another gateway began the day for this key between the two statements
        if not _count_one(conn, key, day):
            raise exceeded(key, at_ns=at_ns) from None


def quota_used(conn: sa.Connection, key_id: str, *, at_ns: int) -> int | None:
    """Videos counted today, None if there was none yet."""
    used = conn.execute(
        sa.select(quota_usage.c.videos).where(
            quota_usage.c.key_id == key_id, quota_usage.c.day == _day(at_ns)
        )
    ).scalar()
    return None if used is None else int(used)


def left(conn: sa.Connection, key: ApiKey, *, at_ns: int) -> Left:
    """What is left of the key's videos of today (UTC)."""
    used = quota_used(conn, key.id, at_ns=at_ns) or 0
    return Left(key.quota_per_day, max(0, key.quota_per_day - used), _until_midnight_s(at_ns))


def exceeded(key: ApiKey, *, at_ns: int) -> QuotaExceededError:
    """The error for a key that has used its quota up, with the seconds until midnight UTC."""
    return QuotaExceededError(key.quota_per_day, _until_midnight_s(at_ns))


def _until_midnight_s(at_ns: int) -> float:
    now = dt.datetime.fromtimestamp(at_ns / _NS, dt.UTC)
    midnight = dt.datetime.combine(now.date() + dt.timedelta(days=1), dt.time(), dt.UTC)
    return (midnight - now).total_seconds()


def _count_one(conn: sa.Connection, key: ApiKey, day: dt.date) -> bool:
    counted = conn.execute(
        sa.update(quota_usage)
        .where(
            quota_usage.c.key_id == key.id,
            quota_usage.c.day == day,
            quota_usage.c.videos < key.quota_per_day,
        )
        .values(videos=quota_usage.c.videos + 1)
    )
    return counted.rowcount == 1


def _day(at_ns: int) -> dt.date:
    return dt.datetime.fromtimestamp(at_ns / _NS, dt.UTC).date()
