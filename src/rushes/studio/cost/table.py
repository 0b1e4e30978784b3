"""The table of attempts: a row for each time that a worker had a job, so that none is forgotten with its worker."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from rushes.studio.keys.table import metadata

compute: Final = sa.Table(
    "job_compute",
    metadata,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column(
        "number", sa.Integer, primary_key=True
    ),  # the job's `attempt` then; 0 for what a provider bills
    sa.Column("role", sa.String(8), nullable=False),
    sa.Column("tier", sa.String(16), nullable=False),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("device", sa.String(100), nullable=False),
    sa.Column("device_kind", sa.String(8), nullable=False),
    sa.Column("usd_per_second", sa.Double),
    sa.Column("start_ns", sa.BigInteger, nullable=False),
    sa.Column("end_ns", sa.BigInteger, nullable=False),  # moves on while the worker is at it
    sa.Column(
        "kept_ns", sa.BigInteger, nullable=False
    ),  # what was done until then, a later attempt went on from
    sa.Column("told_ns", sa.BigInteger, nullable=False),  # up to where metrics have counted it
    sa.Column("cause", sa.String(16)),  # why it came to nothing, where somebody said so
)
