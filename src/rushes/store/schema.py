"""The tables, and how an older data folder becomes a newer one.

Migrations are numbered, run once each, in order, and are recorded in `rushes_schema`; a migration that
has shipped is never edited. Statements keep to what a ClickHouse server understands as well.

Attributes are split: strings in a Map (searched by SQL), everything else, with its type, in one JSON text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

if TYPE_CHECKING:
    from rushes.store.interface import Table

__all__ = ["ARROW", "MIGRATIONS", "TTL_COLUMNS", "VERSIONS", "for_cluster", "ttl"]

# Synced before the acknowledgement; identical blocks within the window are a client's repetition.
_DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"
_ONCE = "non_replicated_deduplication_window = 1000"
_DAILY = "ttl_only_drop_parts = 1"
_STRINGS = "Map(LowCardinality(String), String)"

_SAMPLES = f"""
CREATE TABLE IF NOT EXISTS samples (
  metric LowCardinality(String),
  series_id UInt64,
  ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  value Float64 CODEC(Gorilla, ZSTD(1))
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (metric, series_id, ts)
SETTINGS {_DURABLE}, {_ONCE}, {_DAILY}"""

_SERIES = f"""
CREATE TABLE IF NOT EXISTS series (
  metric LowCardinality(String),
  series_id UInt64,
  labels {_STRINGS},
  last_seen DateTime('UTC')
) ENGINE = ReplacingMergeTree(last_seen) ORDER BY (metric, series_id)
SETTINGS {_DURABLE}"""

_METRICS = f"""
CREATE TABLE IF NOT EXISTS metrics (
  metric String,
  type LowCardinality(String),
  help String,
  unit String,
  last_seen DateTime('UTC')
) ENGINE = ReplacingMergeTree(last_seen) ORDER BY metric
SETTINGS {_DURABLE}"""

_EXEMPLARS = f"""
CREATE TABLE IF NOT EXISTS exemplars (
  metric LowCardinality(String),
  series_id UInt64,
  ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  value Float64,
  trace_id String,
  span_id String,
  labels {_STRINGS}
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (metric, series_id, ts)
SETTINGS {_DURABLE}, {_ONCE}, {_DAILY}"""

_SPANS = f"""
CREATE TABLE IF NOT EXISTS spans (
  ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
  trace_id String CODEC(ZSTD(1)),
  span_id String CODEC(ZSTD(1)),
  parent_span_id String CODEC(ZSTD(1)),
  trace_state String CODEC(ZSTD(1)),
  name LowCardinality(String),
  kind LowCardinality(String),
  service LowCardinality(String),
  duration UInt64 CODEC(ZSTD(1)),
  status LowCardinality(String),
  status_message String CODEC(ZSTD(1)),
  attributes {_STRINGS} CODEC(ZSTD(1)),
  attributes_typed String CODEC(ZSTD(1)),
  resource {_STRINGS} CODEC(ZSTD(1)),
  resource_typed String CODEC(ZSTD(1)),
  scope_name LowCardinality(String),
  scope_version LowCardinality(String),
  events String CODEC(ZSTD(1)),
  links String CODEC(ZSTD(1)),
  INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (toStartOfMinute(ts), service, name, ts)
SETTINGS {_DURABLE}, {_ONCE}, {_DAILY}"""

_LOGS = f"""
CREATE TABLE IF NOT EXISTS logs (
  ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
  trace_id String CODEC(ZSTD(1)),
  span_id String CODEC(ZSTD(1)),
  level LowCardinality(String),
  severity UInt8,
  service LowCardinality(String),
  component LowCardinality(String),
  worker_id LowCardinality(String),
  event LowCardinality(String),
  request_id String CODEC(ZSTD(1)),
  body String CODEC(ZSTD(1)),
  context {_STRINGS} CODEC(ZSTD(1)),
  context_typed String CODEC(ZSTD(1)),
  resource {_STRINGS} CODEC(ZSTD(1)),
  resource_typed String CODEC(ZSTD(1)),
  INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX by_request request_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (toStartOfMinute(ts), service, event, ts)
SETTINGS {_DURABLE}, {_ONCE}, {_DAILY}"""

# Native histograms: sparse buckets by Prometheus' index (bucket i of schema n ends at 2**(i * 2**-n)), absolute counts.
# Schema -53 has custom bounds instead. A stale marker is one whose sum is the stale NaN.
_HISTOGRAMS = f"""
CREATE TABLE IF NOT EXISTS histograms (
  metric LowCardinality(String),
  series_id UInt64,
  ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  count Float64 CODEC(Gorilla, ZSTD(1)),
  sum Float64 CODEC(Gorilla, ZSTD(1)),
  schema Int8,
  gauge UInt8,
  zero_threshold Float64,
  zero_count Float64,
  positive_indices Array(Int32) CODEC(ZSTD(1)),
  positive_counts Array(Float64) CODEC(ZSTD(1)),
  negative_indices Array(Int32) CODEC(ZSTD(1)),
  negative_counts Array(Float64) CODEC(ZSTD(1)),
  custom_bounds Array(Float64) CODEC(ZSTD(1))
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (metric, series_id, ts)
SETTINGS {_DURABLE}, {_ONCE}, {_DAILY}"""

# What OTLP has beyond the columns, seldom anything, is in `rest`: JSON that is written by ingest and read by query.
_SPANS_WHOLE = """
ALTER TABLE spans
  ADD COLUMN IF NOT EXISTS flags UInt32 CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS rest String CODEC(ZSTD(1))"""

_LOGS_WHOLE = """
ALTER TABLE logs
  ADD COLUMN IF NOT EXISTS observed_ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
  ADD COLUMN IF NOT EXISTS severity_text LowCardinality(String),
  ADD COLUMN IF NOT EXISTS flags UInt32 CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS scope_name LowCardinality(String),
  ADD COLUMN IF NOT EXISTS scope_version LowCardinality(String),
  ADD COLUMN IF NOT EXISTS rest String CODEC(ZSTD(1))"""

# Measured: as small as with DoubleDelta and Gorilla or smaller, and range queries take an eighth less time.
_SAMPLES_READ_SOONER = """
ALTER TABLE samples
  MODIFY COLUMN ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
  MODIFY COLUMN value Float64 CODEC(ZSTD(1))"""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (_SAMPLES, _SERIES, _METRICS, _EXEMPLARS, _SPANS, _LOGS),
    (_HISTOGRAMS,),
    (_SPANS_WHOLE, _LOGS_WHOLE),
    (_SAMPLES_READ_SOONER,),
)
"""Migration n (counted from 1) is element n - 1: statements that may be run again if interrupted."""

VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS rushes_schema (version UInt32, applied_at DateTime('UTC'))
ENGINE = MergeTree ORDER BY version SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"""
"""The table of the migrations that have run."""

TTL_COLUMNS: Final[dict[Table, str]] = {
    "samples": "ts",
    "histograms": "ts",
    "series": "last_seen",
    "metrics": "last_seen",
    "exemplars": "ts",
    "spans": "ts",
    "logs": "ts",
}
"""The timestamp that each table's retention counts from."""


def ttl(table: Table, retention_s: int) -> str:
    """The TTL expression of a table that keeps its rows `retention_s` seconds."""
    return f"toDateTime({TTL_COLUMNS[table]}) + toIntervalSecond({int(retention_s)})"


_CHANGED = re.compile(r"\b((?:CREATE TABLE IF NOT EXISTS|ALTER TABLE) \w+)")
_ENGINE = re.compile(r"\bENGINE = (\w*MergeTree)\b")


def for_cluster(statement: str, cluster: str) -> str:
    """A migration's statement for a cluster: on all its hosts, kept in replicas.

    Without arguments a replicated engine takes its path and replica from the server's own defaults.
    """
    quoted = cluster.replace("\\", "\\\\").replace("'", "\\'")
    statement = _CHANGED.sub(lambda found: f"{found[1]} ON CLUSTER '{quoted}'", statement)
    statement = _ENGINE.sub(r"ENGINE = Replicated\1", statement)
    return statement.replace("non_replicated_deduplication_window", "replicated_deduplication_window")


_MAP = pa.map_(pa.string(), pa.string())
_MS = pa.timestamp("ms", "UTC")
_NS = pa.timestamp("ns", "UTC")
_TEXT = pa.string()


def _schema(**fields: Any) -> Any:
    return pa.schema(list(fields.items()))


ARROW: Final[dict[Table, Any]] = {
    "samples": _schema(metric=_TEXT, series_id=pa.uint64(), ts=_MS, value=pa.float64()),
    "histograms": _schema(
        metric=_TEXT,
        series_id=pa.uint64(),
        ts=_MS,
        count=pa.float64(),
        sum=pa.float64(),
        schema=pa.int8(),
        gauge=pa.uint8(),
        zero_threshold=pa.float64(),
        zero_count=pa.float64(),
        positive_indices=pa.list_(pa.int32()),
        positive_counts=pa.list_(pa.float64()),
        negative_indices=pa.list_(pa.int32()),
        negative_counts=pa.list_(pa.float64()),
        custom_bounds=pa.list_(pa.float64()),
    ),
    "series": _schema(metric=_TEXT, series_id=pa.uint64(), labels=_MAP, last_seen=pa.uint32()),
    "metrics": _schema(metric=_TEXT, type=_TEXT, help=_TEXT, unit=_TEXT, last_seen=pa.uint32()),
    "exemplars": _schema(
        metric=_TEXT,
        series_id=pa.uint64(),
        ts=_MS,
        value=pa.float64(),
        trace_id=_TEXT,
        span_id=_TEXT,
        labels=_MAP,
    ),
    "spans": _schema(
        ts=_NS,
        trace_id=_TEXT,
        span_id=_TEXT,
        parent_span_id=_TEXT,
        trace_state=_TEXT,
        name=_TEXT,
        kind=_TEXT,
        service=_TEXT,
        duration=pa.uint64(),
        status=_TEXT,
        status_message=_TEXT,
        attributes=_MAP,
        attributes_typed=_TEXT,
        resource=_MAP,
        resource_typed=_TEXT,
        scope_name=_TEXT,
        scope_version=_TEXT,
        events=_TEXT,
        links=_TEXT,
        flags=pa.uint32(),
        rest=_TEXT,
    ),
    "logs": _schema(
        ts=_NS,
        trace_id=_TEXT,
        span_id=_TEXT,
        level=_TEXT,
        severity=pa.uint8(),
        service=_TEXT,
        component=_TEXT,
        worker_id=_TEXT,
        event=_TEXT,
        request_id=_TEXT,
        body=_TEXT,
        context=_MAP,
        context_typed=_TEXT,
        resource=_MAP,
        resource_typed=_TEXT,
        observed_ts=_NS,
        severity_text=_TEXT,
        flags=pa.uint32(),
        scope_name=_TEXT,
        scope_version=_TEXT,
        rest=_TEXT,
    ),
}
"""The Arrow schema that an insert into each table has."""
