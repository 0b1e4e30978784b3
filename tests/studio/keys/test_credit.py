"""No credit is spent twice, none is lost, and the ledger always adds up to the balance."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rushes.studio.keys import InsufficientCreditsError, KeyStore, credits_for, refund, reserve, settle
from rushes.studio.keys.table import credit_ledger


def _balance(keys: KeyStore, key_id: str) -> int:
    key = keys.get(key_id)
    assert key is not None
    return key.credits


def _ledger(engine: sa.Engine, key_id: str) -> int:
    with engine.connect() as conn:
        return int(
            conn.execute(
                sa.select(sa.func.sum(credit_ledger.c.amount)).where(credit_ledger.c.key_id == key_id)
            ).scalar_one()
        )


@pytest.mark.parametrize(("seconds", "cost"), [(1, 3), (1.0001, 6), (0.2, 3), (5, 15)])
def test_each_begun_second_costs(seconds: float, cost: int) -> None:
    assert credits_for(seconds, "MOCHI1", {"MOCHI1": 3}) == cost


def test_a_model_without_a_price_is_named() -> None:
    with pytest.raises(ValueError, match=r"'LTX2'.*MOCHI1"):
        credits_for(1, "LTX2", {"MOCHI1": 3})


def test_concurrent_reservations_never_overdraw(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", credits=10)

    def spend(number: int) -> bool:
        try:
            with engine.begin() as conn:
                reserve(conn, key_id=key.id, job_id=f"job{number}", amount=3, at_ns=number)
        except InsufficientCreditsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        spent = list(pool.map(spend, range(24)))
    assert spent.count(True) == 3
    assert _balance(keys, key.id) == _ledger(engine, key.id) == 1


def test_a_refusal_names_cost_and_balance(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", credits=2)
    with (
        pytest.raises(InsufficientCreditsError, match="costs 3 credits and the key has 2"),
        engine.begin() as conn,
    ):
        reserve(conn, key_id=key.id, job_id="job", amount=3, at_ns=1)
    assert _balance(keys, key.id) == 2


def test_settling_gives_back_what_is_not_charged(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", credits=10)
    with engine.begin() as conn:
        reserve(conn, key_id=key.id, job_id="job", amount=5, at_ns=1)
    with engine.begin() as conn:
        settle(conn, key_id=key.id, job_id="job", reserved=5, charged=4, at_ns=2)
    assert _balance(keys, key.id) == _ledger(engine, key.id) == 6


@pytest.mark.parametrize("charged", [-1, 6])
def test_charging_more_than_was_reserved_is_refused(keys: KeyStore, engine: sa.Engine, charged: int) -> None:
    key, _ = keys.create("ci", credits=10)
    with pytest.raises(ValueError, match=str(charged)), engine.begin() as conn:
        settle(conn, key_id=key.id, job_id="job", reserved=5, charged=charged, at_ns=2)


def test_a_job_is_refunded_once(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", credits=10)
    with engine.begin() as conn:
        reserve(conn, key_id=key.id, job_id="job", amount=5, at_ns=1)
        refund(conn, key_id=key.id, job_id="job", amount=5, at_ns=2)
    with pytest.raises(IntegrityError), engine.begin() as conn:
        refund(conn, key_id=key.id, job_id="job", amount=5, at_ns=3)
    assert _balance(keys, key.id) == _ledger(engine, key.id) == 10


def test_a_grant_adds_up(keys: KeyStore, engine: sa.Engine) -> None:
    key, _ = keys.create("ci", credits=1)
    keys.grant(key.id, 41)
    assert _balance(keys, key.id) == _ledger(engine, key.id) == 42
