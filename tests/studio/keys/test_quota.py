"""The daily quota: exact under concurrency, and new at midnight UTC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from rushes.studio.keys import (
    ApiKey,
    InsufficientCreditsError,
    KeyStore,
    QuotaExceededError,
    consume_quota,
    quota_used,
)

HOUR_NS = 3_600 * 10**9
NOON_NS = 1_767_960_000_000_000_000


def _count(engine: sa.Engine, key: ApiKey, at_ns: int) -> bool:
    try:
        with engine.begin() as conn:
            consume_quota(conn, key, at_ns=at_ns)
    except QuotaExceededError:
        return False
    return True


def test_concurrent_videos_never_exceed_the_quota(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", quota_per_day=5)
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: _count(engine, key, NOON_NS), range(20)))
    assert counted.count(True) == 5
    with engine.connect() as conn:
        assert quota_used(conn, key.id, at_ns=NOON_NS) == 5


def test_the_quota_starts_anew_at_midnight_utc(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", quota_per_day=1)
    assert _count(engine, key, NOON_NS)
    with pytest.raises(QuotaExceededError) as refused, engine.begin() as conn:
        consume_quota(conn, key, at_ns=NOON_NS + HOUR_NS)
    assert refused.value.retry_after_s == 11 * 3600
    assert not _count(engine, key, NOON_NS + 12 * HOUR_NS - 1_000)
    assert _count(engine, key, NOON_NS + 12 * HOUR_NS)


def test_a_quota_of_none_allows_none(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", quota_per_day=0)
    assert not _count(engine, key, NOON_NS)


def test_verifying_takes_nothing(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", quota_per_day=1, credits=5)
    for _ in range(3):
        keys.verify(key, 5)
    with pytest.raises(InsufficientCreditsError):
        keys.verify(key, 6)
    assert _count(engine, key, NOON_NS)
    with pytest.raises(QuotaExceededError):
        keys.verify(key, 1)
