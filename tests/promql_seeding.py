"""Series and samples for tests of PromQL, straight into the shared store, by seconds after NOW_S."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from rushes.query.promql import PromQL
from rushes.store.schema import ARROW
from telemetry_store import NOW_S, shared_store

__all__ = ["STALE", "at", "forget", "histogram_row", "one", "seed", "seed_histograms"]

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]

_ids = iter(range(1, 1 << 30))


def _series(metric: str, labels: Mapping[str, str]) -> int:
    identity = next(_ids)
    table = pa.table([[metric], [identity], [dict(labels)], [NOW_S]], schema=ARROW["series"])
    shared_store().insert("series", table)
    return identity


def seed(metric: str, samples: Mapping[float, float] | Sequence[tuple[float, float]], **labels: str) -> None:
    """Samples of one series; pairs may repeat a time."""
    pairs = list(samples.items()) if isinstance(samples, Mapping) else list(samples)
    _samples(metric, _series(metric, labels), pairs)


def forget(metric: str, value: float) -> None:
    """A sample of a series that has no labels any more."""
    _samples(metric, next(_ids), [(0.0, value)])


def _samples(metric: str, identity: int, pairs: Sequence[tuple[float, float]]) -> None:
    shared_store().insert(
        "samples",
        pa.table(
            [
                [metric] * len(pairs),
                pa.array([identity] * len(pairs), pa.uint64()),
                pa.array([round((NOW_S + when) * 1000) for when, _ in pairs]).cast(pa.timestamp("ms", "UTC")),
                [value for _, value in pairs],
            ],
            schema=ARROW["samples"],
        ),
    )


def histogram_row(when: float, **fields: Any) -> dict[str, Any]:
    """A native histogram, `positive` and `negative` as dicts of bucket index and count; the count is theirs."""
    positive, negative = fields.get("positive", {}), fields.get("negative", {})
    zero = fields.get("zero_count", 0.0)
    return {
        "ts": round((NOW_S + when) * 1000),
        "count": fields.get("count", zero + sum(positive.values()) + sum(negative.values())),
        "sum": fields.get("sum", 0.0),
        "schema": fields.get("schema", 0),
        "gauge": int(fields.get("gauge", False)),
        "zero_threshold": fields.get("zero_threshold", 0.001),
        "zero_count": zero,
        "positive_indices": list(positive),
        "positive_counts": list(positive.values()),
        "negative_indices": list(negative),
        "negative_counts": list(negative.values()),
        "custom_bounds": list(fields.get("bounds", ())),
    }


def seed_histograms(metric: str, rows: Sequence[Mapping[str, Any]], **labels: str) -> None:
    """Native histograms of one series."""
    identity = _series(metric, labels)
    full = [{"metric": metric, "series_id": identity, **row} for row in rows]
    shared_store().insert("histograms", pa.Table.from_pylist(full, schema=ARROW["histograms"]))


def at(query: str, seconds: float = 0) -> dict[tuple[tuple[str, str], ...], float]:
    """An instant vector: values by labels, the names left out."""
    result = PromQL(shared_store()).instant(query, NOW_S + seconds)
    assert result.kind == "vector"
    return {
        tuple(sorted((k, v) for k, v in each.labels.items() if k != "__name__")): each.values[0]
        for each in result.series
    }


def one(query: str, seconds: float = 0) -> float:
    """The value of the only series."""
    (value,) = at(query, seconds).values()
    return value
