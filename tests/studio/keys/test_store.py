"""Keys are found by their secret and by nothing else, and the secret is kept nowhere."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from rushes.studio.keys import KeyStore, UnknownKeyError, audit, hash_secret, last_four, reserve, tier_allows
from studio.keys.conftest import Clock


def test_a_key_is_found_by_its_secret_only(keys: KeyStore) -> None:
    key, secret = keys.create("ci", tier="premium", credits=7)
    assert secret.startswith("rk_")
    assert len(secret) == 35
    assert key.last_four == secret[-4:]
    assert keys.find(secret) == keys.get(key.id)
    assert keys.find(secret[:-1]) is None
    assert keys.find(hash_secret(secret)) is None
    assert keys.find("") is None


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL's files are not the test's to read
def test_the_secret_is_in_no_byte_of_the_database(keys: KeyStore, engine: sa.Engine, tmp_path: Path) -> None:
    key, secret = keys.create("ci")
    engine.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.id.encode() in stored
    assert secret[3:].encode() not in stored


def test_a_revoked_key_is_found_no_more(keys: KeyStore) -> None:
    key, secret = keys.create("ci")
    other, other_secret = keys.create("other")
    assert keys.revoke(key.id)
    assert not keys.revoke(key.id)
    assert keys.find(secret) is None
    assert keys.find(other_secret) is not None
    assert [(k.id, k.active) for k in keys.list_all()] == sorted(
        [(key.id, False), (other.id, True)], key=lambda pair: pair[0]
    )


def test_a_given_secret_makes_the_same_key_usable(keys: KeyStore) -> None:
    key, secret = keys.create("development", secret="rk_" + "d" * 32)
    assert secret == "rk_" + "d" * 32
    found = keys.find(secret)
    assert found is not None
    assert found.id == key.id


def test_a_key_is_ensured_once_and_stays_revoked(keys: KeyStore) -> None:
    secret = "rk_" + "d" * 32
    made = keys.ensure(secret, name="development", tier="premium", credits=7)
    assert made is not None
    assert (made.name, made.tier, made.credits) == ("development", "premium", 7)
    assert keys.find(secret) == made
    assert keys.ensure(secret, name="other", credits=100) == made
    assert keys.revoke(made.id)
    assert keys.ensure(secret, name="development", credits=7) is None
    assert keys.find(secret) is None
    assert [(key.id, key.credits) for key in keys.list_all()] == [(made.id, 7)]


def test_a_key_may_be_ensured_by_many_at_once(keys: KeyStore) -> None:
    secret = "rk_" + "d" * 32
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: keys.ensure(secret, name="development"), range(4)))
    assert made == keys.list_all() * 4


@pytest.mark.parametrize("wrong", [{"tier": "gold"}, {"credits": -1}, {"quota_per_day": -1}])
def test_a_key_with_an_impossible_setting_is_refused(keys: KeyStore, wrong: dict[str, str | int]) -> None:
    value = next(iter(wrong.values()))
    with pytest.raises(ValueError, match=str(value)):
        keys.create("ci", **wrong)  # type: ignore[arg-type] # wrong on purpose
    assert keys.list_all() == []


def test_tiers_allow_themselves_and_what_is_below() -> None:
    assert tier_allows("premium", "premium")
    assert tier_allows("premium", "free")
    assert not tier_allows("premium", "realtime")
    assert not tier_allows("free", "standard")


def test_too_short_a_secret_shows_nothing() -> None:
    assert last_four("hunter2") == ""
    assert last_four("rk_" + "a" * 28 + "wxyz") == "wxyz"


def test_active_keys_are_those_with_a_video_in_a_day(
    keys: KeyStore, engine: sa.Engine, clock: Callable[[], int]
) -> None:
    day_ago = clock() - 86_400 * 10**9
    key, _ = keys.create("ci", credits=9)
    keys.create("idle", credits=9)
    assert keys.active_today() == 0
    with engine.begin() as conn:
        reserve(conn, key_id=key.id, job_id="a", amount=1, at_ns=day_ago)
    assert keys.active_today() == 0
    with engine.begin() as conn:
        reserve(conn, key_id=key.id, job_id="b", amount=1, at_ns=day_ago + 1)
    assert keys.active_today() == 1


def test_a_rotated_secret_works_for_its_grace_and_not_a_moment_longer(keys: KeyStore, clock: Clock) -> None:
    key, first = keys.create("ci")
    second = keys.rotate(key.id, grace_s=60)
    third = keys.rotate(key.id, grace_s=3600)
    assert keys.find(first) == keys.find(second) == keys.find(third)
    clock.now += 60 * 10**9
    assert keys.find(first) is None
    assert keys.find(second) is not None
    fourth = keys.rotate(key.id)
    assert [keys.find(old) for old in (first, second, third)] == [None] * 3
    assert keys.find(fourth) == keys.get(key.id)
    keys.revoke(key.id)
    assert keys.find(fourth) is None
    with pytest.raises(UnknownKeyError):
        keys.rotate(key.id)


def test_a_revoked_keys_former_secrets_open_nothing(keys: KeyStore) -> None:
    key, first = keys.create("ci")
    keys.rotate(key.id, grace_s=60)
    keys.revoke(key.id)
    assert keys.find(first) is None


def test_a_secret_that_was_rotated_away_makes_no_new_key(keys: KeyStore) -> None:
    secret = "rk_" + "d" * 32
    key = keys.ensure(secret, name="development")
    assert key is not None
    keys.rotate(key.id)
    assert keys.ensure(secret, name="development") is None
    assert len(keys.list_all()) == 1


def test_what_no_column_can_hold_is_refused(keys: KeyStore, engine: sa.Engine) -> None:
    with pytest.raises(ValueError, match="rate_limit_per_minute must be 2147483647 at most"):
        keys.create("big", rate_limit_per_minute=2**31)
    with pytest.raises(ValueError, match="quota_per_day must be 2147483647 at most"):
        keys.create("big", quota_per_day=2**31)
    with pytest.raises(ValueError, match="credits must be 1000000000000000 at most"):
        keys.create("big", credits=10**15 + 1)
    key, secret = keys.create("ci", credits=10**15)
    for amount in (1, 2**63 - 1, 2**64):
        with pytest.raises(ValueError, match="1000000000000000 credits at most"):
            keys.grant(key.id, amount)
    with pytest.raises(ValueError, match="36500 days at most"):
        keys.rotate(key.id, grace_s=36_501 * 86_400)
    found = keys.find(secret)
    assert found is not None
    assert found.credits == 10**15
    assert audit(engine) == []
