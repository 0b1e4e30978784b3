"""The jobs' tables. Plain SQLAlchemy Core, so that SQLite and PostgreSQL run the same statements."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from rushes.studio.keys.table import metadata

jobs: Final = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("key_id", sa.String(20), nullable=False),
    sa.Column("tier", sa.String(16), nullable=False),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("num_frames", sa.Integer, nullable=False),
    sa.Column("fps", sa.Double, nullable=False),
    sa.Column("steps", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("guidance_scale", sa.Double, nullable=False),
    sa.Column("trace_id", sa.String(32), nullable=False),
    sa.Column("root_span_id", sa.String(16), nullable=False),
    sa.Column("parent_span_id", sa.String(16), nullable=False),
    sa.Column("accepted_ns", sa.BigInteger, nullable=False),
    sa.Column("encode_started_ns", sa.BigInteger),
    sa.Column("assigned_ns", sa.BigInteger),
    sa.Column("finished_ns", sa.BigInteger),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("recoveries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("retries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("careful", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("furthest_step", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ready_ns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("alive_ns", sa.BigInteger),
    sa.Column("error_code", sa.String(64)),
    sa.Column("error_message", sa.String(1000)),
    sa.Column("failure_reason", sa.String(32)),
    sa.Column("media", sa.String(200)),
    sa.Column("size_bytes", sa.BigInteger),
    sa.Column("worker_id", sa.String(64)),
    sa.Column("executor_id", sa.String(100)),
    sa.Column("credits_reserved", sa.BigInteger, nullable=False),
    sa.Column("credits_charged", sa.BigInteger),
    # A queue's heads of line, by tier and model, come from this index alone.
    sa.Index("jobs_by_place", "state", "tier", "model", "accepted_ns", "ready_ns"),
    sa.Index("jobs_by_end", "state", "finished_ns"),
    sa.Index("jobs_by_key", "key_id", "accepted_ns", "id"),
    sa.Index("jobs_by_media", "media"),
)

# Apart from the job, so that no query of jobs ever carries a prompt along.
prompts: Final = sa.Table(
    "job_prompts",
    metadata,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column("encrypted", sa.LargeBinary, nullable=False),
)

# What a video is to begin with, encrypted like the prompt.
pictures: Final = sa.Table(
    "job_pictures",
    metadata,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column("encrypted", sa.LargeBinary, nullable=False),
)

# Orders at a provider; `name` is NULL until the provider has told its own.
operations: Final = sa.Table(
    "job_operations",
    metadata,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(500)),
    sa.Column("begun_ns", sa.BigInteger, nullable=False),
)

# A row a stage, only ever added: no worker has to read and rewrite another's list.
stages: Final = sa.Table(
    "job_stages",
    metadata,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column("start_ns", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("end_ns", sa.BigInteger, nullable=False),
)

# One row a queue. Whoever takes a job changes it first, and so holds it until the job is taken: on SQLite as on
# PostgreSQL, one chooses after the other. So does whoever adds one, with a row of his own: limits hold to the job.
turns: Final = sa.Table(
    "queue_turns",
    metadata,
    sa.Column("queue", sa.String(16), primary_key=True),
    sa.Column("taken", sa.BigInteger, nullable=False),
    sa.Column("passes", sa.Text, nullable=False),  # JSON: see `schedule.Turns`
)

# A row a worker process, written by itself.
workers: Final = sa.Table(
    "workers",
    metadata,
    sa.Column("executor_id", sa.String(100), primary_key=True),
    sa.Column("worker_id", sa.String(64), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("realtime", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("since_ns", sa.BigInteger, nullable=False),
    sa.Column("seen_ns", sa.BigInteger, nullable=False),
    sa.Column("warm", sa.Text, nullable=False),  # JSON: names of models
    sa.Column("devices", sa.String(255), nullable=False),
    sa.Column("metrics", sa.String(255), nullable=False),
)
