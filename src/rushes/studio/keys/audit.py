"""Whether the credits add up: balances against the ledger, the ledger against the jobs.

Nothing here mends anything. Each look is one statement, so that it sees one moment of a database in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from rushes.studio.keys.table import api_keys, credit_ledger

__all__ = ["Discrepancy", "audit"]

Kind: TypeAlias = Literal["balance", "reserve", "end", "key"]

# What is needed of the jobs' table; its own module builds on this package.
_JOBS: Final = sa.table(
    "jobs",
    *(sa.column(name) for name in ("id", "key_id", "state", "credits_reserved", "credits_charged")),
)
_GIVEN_UP: Final = ("failed", "cancelled")
_KINDS: Final = ("reserve", "settle", "refund")


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that can't be.

    Attributes:
        kind: `balance`: a key's is not the sum of its ledger; `reserve`: a job's reservation is missing or of
            another amount; `end`: a job's charge or refund is missing, too much, too early, or of another amount;
            `key`: credits were booked on a key that is not the job's, or that does not exist.
        subject: the key's or the job's id.
        text: what is wrong, with the amounts.
    """

    kind: Kind
    subject: str
    text: str


def audit(engine: sa.Engine) -> list[Discrepancy]:
    """Everything that is wrong with the credits of this database; nothing, if all is well.

    Each job has one reservation of what its row says; once it has ended, it has either one charge, with the rest
    given back, or one refund of all, as its row says; before, it has neither. A deleted job's bookings stay, and
    balance as those of any ended one.
    """
    with engine.connect() as conn:
        return [*_balances(conn), *_jobs(conn), *_unbooked(conn)]


def _balances(conn: sa.Connection) -> Iterator[Discrepancy]:
    booked = sa.select(credit_ledger.c.key_id, sa.func.sum(credit_ledger.c.amount).label("amount")).group_by(
        credit_ledger.c.key_id
    )
    ledger = booked.subquery()
    amount = sa.func.coalesce(ledger.c.amount, 0)
    query = (
        sa.select(api_keys.c.id, api_keys.c.credits, amount.label("amount"))
        .select_from(api_keys.outerjoin(ledger, ledger.c.key_id == api_keys.c.id))
        .where(api_keys.c.credits != amount)
        .order_by(api_keys.c.id)
    )
    for row in conn.execute(query):
        text = f"its balance is {row.credits} credits, its ledger adds up to {int(row.amount)}"
        yield Discrepancy("balance", row.id, text)
    unknown = (
        sa.select(credit_ledger.c.key_id)
        .where(credit_ledger.c.key_id.not_in(sa.select(api_keys.c.id)))
        .distinct()
        .order_by(credit_ledger.c.key_id)
    )
    for row in conn.execute(unknown):
        yield Discrepancy("key", row.key_id, "credits are booked on a key that does not exist")


def _jobs(conn: sa.Connection) -> Iterator[Discrepancy]:
    """Of the jobs that have bookings, deleted ones too."""
    ledger = credit_ledger.c
    columns = [
        ledger.job_id,
        sa.func.min(ledger.key_id).label("first"),
        sa.func.max(ledger.key_id).label("last"),
    ]
    for kind in _KINDS:
        of_kind = ledger.kind == kind
        columns.append(sa.func.count(sa.case((of_kind, 1))).label(f"{kind}s"))
        columns.append(sa.func.coalesce(sa.func.sum(sa.case((of_kind, ledger.amount))), 0).label(kind))
    booked = sa.select(*columns).where(ledger.job_id.is_not(None)).group_by(ledger.job_id).subquery()
    both, job = booked.c, _JOBS.c
    # Nearly all of them; what is wrong with the others is said below.
    well = sa.and_(
        both.first == both.last,
        both.first == job.key_id,
        both.reserves == 1,
        -both.reserve == job.credits_reserved,
        both.settle + both.refund == job.credits_reserved - job.credits_charged,
        sa.or_(
            sa.and_(job.state == "completed", both.settles == 1, both.refunds == 0),
            sa.and_(job.state.in_(_GIVEN_UP), both.settles == 0, both.refunds == 1, job.credits_charged == 0),
        ),
    )
    query = (
        sa.select(booked, _JOBS)
        .select_from(booked.outerjoin(_JOBS, job.id == both.job_id))
        .where(~sa.func.coalesce(well, sa.false()))
        .order_by(both.job_id)
    )
    for row in conn.execute(query):
        for kind, text in _wrong(row):
            yield Discrepancy(kind, row.job_id, text)


def _unbooked(conn: sa.Connection) -> Iterator[Discrepancy]:
    query = (
        sa.select(_JOBS.c.id)
        .where(~sa.exists().where(credit_ledger.c.job_id == _JOBS.c.id))
        .order_by(_JOBS.c.id)
    )
    for row in conn.execute(query):
        yield Discrepancy("reserve", row.id, "nothing was reserved for it")


def _wrong(row: sa.Row[Any]) -> Iterator[tuple[Kind, str]]:
    if row.first != row.last or (row.id is not None and row.first != row.key_id):
        whose = "deleted" if row.id is None else f"{row.key_id}'s"
        yield "key", f"its credits are booked on {row.first} and {row.last}, it is {whose}"
    if row.reserves != 1:
        yield "reserve", f"it has {row.reserves} reservations"
    yield from _wrong_deleted(row) if row.id is None else _wrong_kept(row)


def _wrong_deleted(row: sa.Row[Any]) -> Iterator[tuple[Kind, str]]:
    """Of a job that must have ended, since it could be deleted."""
    if row.settles + row.refunds != 1:
        yield "end", f"it is deleted and has {row.settles} charges and {row.refunds} refunds"
    if not 0 <= row.settle + row.refund <= -row.reserve:
        yield "end", f"of {-row.reserve} reserved credits {row.settle + row.refund} were given back"


def _wrong_kept(row: sa.Row[Any]) -> Iterator[tuple[Kind, str]]:
    reserved, charged = row.credits_reserved, row.credits_charged
    if -row.reserve != reserved:
        yield "reserve", f"{-row.reserve} credits are reserved in the ledger, {reserved} in its row"
    if row.state != "completed" and row.state not in _GIVEN_UP:
        if row.settles or row.refunds or charged is not None:
            yield "end", f"it is {row.state} and was charged or refunded already"
        return
    if (row.settles, row.refunds) != ((1, 0) if row.state == "completed" else (0, 1)):
        yield "end", f"it is {row.state} and has {row.settles} charges and {row.refunds} refunds"
    back = row.settle + row.refund
    if back != reserved - (charged or 0):
        yield "end", f"of {reserved} reserved credits {charged} were charged and {back} given back"
    if row.state != "completed" and charged != 0:
        yield "end", f"it is {row.state} and was charged {charged} credits"
