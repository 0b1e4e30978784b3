"""The tables of keys, credits, quotas and idempotency keys, in the one `metadata` and database of the jobs."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData()

# SQLite counts rows up only for a plain INTEGER primary key.
_ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

api_keys: Final = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(20), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("secret_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("last_four", sa.String(4), nullable=False),
    sa.Column("tier", sa.String(16), nullable=False),
    sa.Column("rate_limit_per_minute", sa.Integer, nullable=False),
    sa.Column("quota_per_day", sa.Integer, nullable=False),
    sa.Column("credits", sa.BigInteger, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("last_accepted_ns", sa.BigInteger),  # when a video of this key was accepted last
    sa.CheckConstraint("credits >= 0", name="api_keys_credits_not_negative"),
)

credit_ledger: Final = sa.Table(
    "credit_ledger",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    sa.Column("key_id", sa.String(20), nullable=False, index=True),
    sa.Column("job_id", sa.String(40), nullable=True),
    sa.Column("kind", sa.String(8), nullable=False),  # grant, reserve, settle, refund
    sa.Column("amount", sa.BigInteger, nullable=False),  # what the balance changed by
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    # A job reserves once, and is settled or refunded once: a second time is a bug and must not be booked.
    sa.UniqueConstraint("job_id", "kind", name="credit_ledger_once_a_job"),
)

quota_usage: Final = sa.Table(
    "quota_usage",
    metadata,
    sa.Column("key_id", sa.String(20), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("videos", sa.Integer, nullable=False),
)

# What a rotated key's former secrets still open, until when.
former_secrets: Final = sa.Table(
    "api_key_former_secrets",
    metadata,
    sa.Column("secret_sha256", sa.String(64), primary_key=True),
    sa.Column("key_id", sa.String(20), nullable=False, index=True),
    sa.Column("until_ns", sa.BigInteger, nullable=False),
)

idempotency_keys: Final = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("key_id", sa.String(20), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),  # keyed hash of what the caller sent
    sa.Column("fingerprint", sa.String(64), nullable=False),  # keyed hash of the whole request
    sa.Column("job_id", sa.String(40), nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False, index=True),
)
