"""The samples that Prometheus and Rushes are both given: counters, gauges, histograms, gaps, resets, odd numbers.

Every sample lies 137 ms beside a whole second and queries are asked at whole seconds, so that no sample is on the
edge of a window: those belong to the window in Prometheus 2 and not in Prometheus 3.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from prometheus_peer import Histogram, Peer, Written
from rushes.store.interface import Store
from rushes.store.schema import ARROW

__all__ = ["END_S", "PREFIX", "STALE", "START_S", "dataset", "write_to_peer", "write_to_store"]

START_S = 1_767_225_600
END_S = START_S + 5400
PREFIX = "c_"
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
_EVERY_S = 15


def _times(every_s: int = _EVERY_S, skip: tuple[int, int] = (0, 0)) -> list[int]:
    """Milliseconds, without those between `skip` (seconds after the start)."""
    return [
        (START_S + second) * 1000 + 137
        for second in range(0, END_S - START_S, every_s)
        if not skip[0] <= second < skip[1]
    ]


def _written(labels: dict[str, str], times: list[int], values: list[float]) -> Written:
    return Written(labels, np.array(times, dtype=np.int64), np.array(values, dtype=np.float64))


def dataset() -> list[Written]:
    """The same series each time."""
    rng = random.Random(4)  # noqa: S311  no secret
    return [*_counters(rng), *_gauges(rng), *_classic(rng), *_native(rng)]


def _counters(rng: random.Random) -> Iterator[Written]:
    for number, (tier, model) in enumerate(
        (t, m) for t in ("free", "premium", "standard") for m in ("A", "B", "C")
    ):
        # Far above zero, since a counter's first steps are extrapolated differently since Prometheus 3.
        total, values = 1e5 * (number + 1), []
        times = _times(skip=(1500, 1900) if number == 4 else (0, 0))
        for place in range(len(times)):
            total = (
                total + rng.choice([0, 0, 1, 2, 5.5]) if place not in (100, 230 + number) else 1e4 + number
            )
            values.append(total)
        labels = {"__name__": "c_requests_total", "tier": tier, "model": model, "job": "gateway"}
        yield _written(labels, times, values)
    for instance in ("a:1", "b:2"):
        times = _times(every_s=30)
        yield _written(
            {"__name__": "c_failures_total", "tier": "free", "instance": instance},
            times,
            [1000.0 + (place // 7) for place in range(len(times))],
        )


def _gauges(rng: random.Random) -> Iterator[Written]:
    for number, (tier, status) in enumerate(
        (t, s) for t in ("free", "premium") for s in ("waiting", "running")
    ):
        times = _times(skip=(600, 1100) if number == 1 else (0, 0))
        yield _written(
            {"__name__": "c_depth", "tier": tier, "status": status},
            times,
            [round(50 * math.sin(place / 20 + number) + rng.gauss(0, 3), 2) for place in range(len(times))],
        )
    # A label that others haven't, a series that is gone after a marker and comes back, one that ends early.
    times = _times()
    yield _written(
        {"__name__": "c_depth", "tier": "premium", "status": "waiting", "zone": "eu"},
        times,
        [STALE if place in (80, 200) else float(place % 9) for place in range(len(times))],
    )
    yield _written({"__name__": "c_depth", "tier": "gone"}, times[:90], [3.25] * 90)
    odd = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -1e-300, 7.0]
    for number in range(3):
        values = [odd[(place + number * 3) % len(odd)] for place in range(len(times))]
        yield _written({"__name__": "c_odd", "n": str(number)}, times, values)
    yield _written({"__name__": "c_nan"}, times, [math.nan] * len(times))
    yield _written({"__name__": "c_inf"}, times, [math.inf] * len(times))
    for tier, limit in (("free", 10.0), ("premium", 20.0), ("standard", 30.0)):
        yield _written(
            {"__name__": "c_limit", "tier": tier, "owner": f"team-{tier}"}, times, [limit] * len(times)
        )
    for number, text in enumerate(("x", "y.z", "", "ünïcode", 'quo"te', "back\\slash", "a b")):
        labels = {"__name__": "c_info", "n": str(number)} | ({"text": text} if text else {})
        yield _written(labels, times, [1.0] * len(times))
    for number in range(4):
        yield _written(
            {"__name__": "c_time", "n": str(number)},
            times,
            [number * 86_400.0 * 37 + place * 3601 for place in range(len(times))],
        )


def _classic(rng: random.Random) -> Iterator[Written]:
    for model, bounds in (
        ("A", ("0.5", "1", "2.5", "5", "10", "+Inf")),
        ("B", ("0.5", "1.0", "2.5", "5.0", "10", "+Inf")),
        ("C", ("-5", "0", "5", "+Inf")),
        ("D", ("1", "2")),
        ("E", ("+Inf",)),
        ("F", ("1", "bad", "+Inf")),
    ):
        times = _times(skip=(2000, 2600) if model == "B" else (0, 0))
        counts = [1e4] * len(bounds)
        columns: list[list[float]] = [[] for _ in bounds]
        for place in range(len(times)):
            if place == 150:
                counts = [1e3] * len(bounds)
            for _ in range(rng.randrange(5)):
                first = rng.randrange(len(bounds))
                for bucket in range(first, len(bounds)):
                    counts[bucket] += 1
            for bucket, count in enumerate(counts):
                columns[bucket].append(count)
        for bound, column in zip(bounds, columns, strict=True):
            yield _written({"__name__": "c_latency_bucket", "model": model, "le": bound}, times, column)
        yield _written({"__name__": "c_latency_count", "model": model}, times, columns[-1])
        yield _written(
            {"__name__": "c_latency_sum", "model": model}, times, [2.5 * count for count in columns[-1]]
        )
    # "2" and "2.0" of one histogram: their buckets are one.
    for bound, share in (("2", 0.25), ("2.0", 0.25), ("+Inf", 1.0)):
        times = _times()
        yield _written(
            {"__name__": "c_twice_bucket", "le": bound},
            times,
            [1e4 * share + share * 4 * place for place in range(len(times))],
        )


def _native(rng: random.Random) -> Iterator[Written]:
    for number, schema in enumerate((0, 0, 2)):
        positive: dict[int, float] = dict.fromkeys(range(-3, 5), 100.0)
        negative: dict[int, float] = {1: 50.0, 2: 20.0} if number == 1 else {}
        zero = 10.0
        samples = []
        for place, ts in enumerate(_times()):
            if place == 170:
                positive, negative, zero = dict.fromkeys(positive, 9.0), dict.fromkeys(negative, 4.0), 1.0
            for bucket in rng.sample(sorted(positive), 3):
                positive[bucket] += rng.randrange(4)
            for bucket in negative:
                negative[bucket] += 1
            zero += rng.randrange(2)
            count = zero + sum(positive.values()) + sum(negative.values())
            samples.append(
                Histogram(ts, schema, count, count * 1.5, 0.001, zero, dict(positive), dict(negative))
            )
        empty = np.empty(0, dtype=np.int64)
        yield Written(
            {"__name__": "c_native", "n": str(number), "schema": str(schema)}, empty, np.empty(0), samples
        )


def write_to_peer(peer: Peer, series: list[Written]) -> None:
    """In slices of half an hour, since what is an hour older than the newest is refused."""
    for begin in range(START_S * 1000, END_S * 1000, 1_800_000):
        end = begin + 1_800_000
        peer.write(_slice(each, begin, end) for each in series)


def _slice(of: Written, begin: int, end: int) -> Written:
    chosen = (of.ts_ms >= begin) & (of.ts_ms < end)
    histograms = [each for each in of.histograms if begin <= each.ts_ms < end]
    return Written(of.labels, of.ts_ms[chosen], of.values[chosen], histograms)


def write_to_store(store: Store, series: list[Written], first_id: int = 1 << 40) -> None:
    """Straight into the tables."""
    for number, each in enumerate(series):
        identity = first_id + number
        rest = {name: value for name, value in each.labels.items() if name != "__name__"}
        metric = each.labels["__name__"]
        store.insert("series", pa.table([[metric], [identity], [rest], [END_S]], schema=ARROW["series"]))
    samples = [each for each in series if len(each.ts_ms)]
    sizes = [len(each.ts_ms) for each in samples]
    ids = [first_id + number for number, each in enumerate(series) if len(each.ts_ms)]
    store.insert(
        "samples",
        pa.table(
            [
                np.repeat([each.labels["__name__"] for each in samples], sizes),
                np.repeat(np.array(ids, dtype=np.uint64), sizes),
                pa.array(np.concatenate([each.ts_ms for each in samples])).cast(pa.timestamp("ms", "UTC")),
                np.concatenate([each.values for each in samples]),
            ],
            schema=ARROW["samples"],
        ),
    )
    rows = [
        {
            "metric": each.labels["__name__"],
            "series_id": first_id + number,
            "ts": sample.ts_ms,
            "count": sample.count,
            "sum": sample.sum,
            "schema": sample.schema,
            "gauge": int(sample.gauge),
            "zero_threshold": sample.zero_threshold,
            "zero_count": sample.zero_count,
            "positive_indices": sorted(sample.positive),
            "positive_counts": [sample.positive[index] for index in sorted(sample.positive)],
            "negative_indices": sorted(sample.negative),
            "negative_counts": [sample.negative[index] for index in sorted(sample.negative)],
            "custom_bounds": [],
        }
        for number, each in enumerate(series)
        for sample in each.histograms
    ]
    store.insert("histograms", pa.Table.from_pylist(rows, schema=ARROW["histograms"]))
