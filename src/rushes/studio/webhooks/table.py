"""The webhooks' tables: where each key wants its messages, and the messages that are still to be delivered."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from rushes.studio.keys.table import metadata

endpoints: Final = sa.Table(
    "webhook_endpoints",
    metadata,
    sa.Column("key_id", sa.String(20), primary_key=True),
    sa.Column("encrypted", sa.LargeBinary, nullable=False),  # URL and secret: a URL may hold a token
    sa.Column("created_ns", sa.BigInteger, nullable=False),
)

outbox: Final = sa.Table(
    "webhook_outbox",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("key_id", sa.String(20), nullable=False, index=True),
    sa.Column("job_id", sa.String(40), nullable=False),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("due_ns", sa.BigInteger, nullable=False, index=True),
    sa.Column("claimed_until_ns", sa.BigInteger, nullable=False),  # 0: nobody is sending it
)
