"""Prometheus' remote write, 1.0 and 2.0, into a batch.

Samples may come out of order, and twice. What can't be taken is refused by itself, the rest is kept; the sender is
told, and doesn't repeat what would be refused again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rushes.ingest.batch import Batch
from rushes.ingest.columns import Clockwork, checked
from rushes.ingest.histograms import is_stale
from rushes.ingest.limits import UndecodableBody, expandable
from rushes.ingest.nested import Ints, joined, owners
from rushes.ingest.prometheus_wire import PROMETHEUS
from rushes.ingest.remote_histogram import from_remote_write
from rushes.ingest.stats import Reason

__all__ = ["take_request", "take_write_request"]

_NS_PER_MS: Final = 1_000_000
_LEAST_BYTES: Final = 4  # that a series or a label which means anything takes
_TYPES: Final = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")
_PARTS: Final = ("_bucket", "_count", "_sum")

_NAME: Final = Reason("bad_name", "series has no __name__, or a very long one")
_LABELS: Final = Reason("bad_labels", "labels without a name, twice the same, or that refer to no symbol")

_Labels = dict[str, str]


class _Read(NamedTuple):
    """What differs between the versions once columns are made: how a row's labels are read."""

    columns: Any
    keys: list[bytes]
    labels: Callable[[int], _Labels | None]
    exemplar: Callable[[bytes], tuple[_Labels, float, int] | None]


def take_write_request(body: bytes, batch: Batch, clock: Clockwork) -> None:
    """Add a prometheus.WriteRequest (1.0). Raises UndecodableBody."""
    budget = 1024 + len(body) // _LEAST_BYTES
    request = PROMETHEUS.one("WriteRequest", body)
    metadata = request.column("metadata").flatten()
    if len(metadata) > budget:
        raise UndecodableBody(f"the body announces {len(metadata)} descriptions, which can't be")
    for raw in metadata.unique().to_pylist():
        of = PROMETHEUS.message("Description", raw)
        if of.metric:
            batch.describe(of.metric, _type(of.type), of.help, of.unit)
    columns = PROMETHEUS.many("TimeSeries", request.column("timeseries").flatten(), budget)
    # No encoded label begins with a zero, so that what is joined by zeros can be told apart again.
    keys = joined(columns.column("labels"), columns.column("labels").flatten(), b"\x00")

    def labels(row: int) -> _Labels | None:
        found = [PROMETHEUS.message("Label", raw) for raw in columns.column("labels")[row].as_py()]
        return _labels([(of.name, of.value) for of in found])

    def exemplar(raw: bytes) -> tuple[_Labels, float, int]:
        of = PROMETHEUS.message("Exemplar", raw)
        return {label.name: label.value for label in of.labels}, of.value, of.timestamp

    _take(_Read(columns, keys, labels, exemplar), batch, clock)


def take_request(body: bytes, batch: Batch, clock: Clockwork) -> None:
    """Add an io.prometheus.write.v2.Request (2.0). Raises UndecodableBody."""
    budget = 1024 + len(body) // _LEAST_BYTES
    request = PROMETHEUS.one("Request", body)
    symbols = request.column("symbols").flatten()
    columns = PROMETHEUS.many("ReferringSeries", request.column("timeseries").flatten(), budget)
    lists = columns.column("labels")
    refs = lists.flatten().to_numpy().astype(np.int64)
    even = pc.list_value_length(lists).to_numpy() % 2 == 0
    there = np.ones(len(columns), bool)
    there[owners(lists)[refs >= len(symbols)]] = False
    keep = checked([(_LABELS, ~(even & there))], batch.refusals)
    if not keep.all():
        columns = columns.filter(pa.array(keep))
        lists = columns.column("labels")
        refs = lists.flatten().to_numpy().astype(np.int64)
    # A few symbols that everything refers to must not become more than can be held.
    expandable(int(pc.binary_length(symbols).to_numpy()[refs].sum()), batch.limits)
    taken = symbols.take(pa.array(refs)).cast(pa.binary())
    # 0xff is in no text.
    keys = joined(lists, taken, b"\xff")

    def text(ref: int) -> str:
        found: str = symbols[ref].as_py()
        return found

    def pairs(of: list[int]) -> list[tuple[str, str]]:
        return [(text(name), text(value)) for name, value in zip(of[::2], of[1::2], strict=True)]

    def labels(row: int) -> _Labels | None:
        return _labels(pairs(lists[row].as_py()))

    def exemplar(raw: bytes) -> tuple[_Labels, float, int] | None:
        of = PROMETHEUS.message("ReferringExemplar", raw)
        if len(of.labels) % 2 or any(ref >= len(symbols) for ref in of.labels):
            return None
        return dict(pairs(list(of.labels))), of.value, of.timestamp

    _take(_Read(columns, keys, labels, exemplar), batch, clock)
    _describe(columns, keys, symbols, batch)


def _take(read: _Read, batch: Batch, clock: Clockwork) -> None:
    numbers = _numbers(read, batch)
    samples = read.columns.column("samples")
    flat, row = samples.flatten(), owners(samples)
    ts = flat.field("timestamp").to_numpy()
    keep = checked(clock.complaints(ts, _NS_PER_MS), batch.refusals) if len(flat) else np.zeros(0, bool)
    keep &= numbers[row] >= 0
    batch.samples(numbers[row][keep], ts[keep], flat.field("value").to_numpy()[keep])
    for raw, of in _items(read.columns.column("histograms")):
        if numbers[of] < 0:
            continue
        histogram = PROMETHEUS.message("Histogram", raw)
        complaint = clock.complaint(histogram.timestamp * _NS_PER_MS)
        found = complaint or from_remote_write(histogram, batch.limits)
        if isinstance(found, Reason):
            batch.refusals.refuse(found)
        else:
            batch.histogram(int(numbers[of]), histogram.timestamp, found)
    exemplars = list(_items(read.columns.column("exemplars")))
    for raw, of in exemplars[: batch.room_for_exemplars(len(exemplars))]:
        exemplar = read.exemplar(raw)
        if numbers[of] >= 0 and exemplar is not None:
            _exemplar(int(numbers[of]), exemplar, batch, clock)


def _numbers(read: _Read, batch: Batch) -> Ints:
    """The series of each row, -1 for those that are refused."""
    born = _born(read.columns)
    samples, histograms = (
        pc.list_value_length(read.columns.column(name)).to_numpy() for name in ("samples", "histograms")
    )
    points = np.maximum(1, samples + histograms).tolist()

    def named(row: int) -> tuple[str, _Labels] | None:
        return _named(read.labels(row), batch, points[row])

    return batch.numbers(read.keys, named, points=points.__getitem__, born=born.get)


def _born(columns: Any) -> dict[int, tuple[int, int]]:
    """Of rows that say when they began to count: then, and when their first sample was taken."""
    samples = columns.column("samples")
    flat, row = samples.flatten(), owners(samples)
    start, ts = flat.field("start_timestamp").to_numpy(), flat.field("timestamp").to_numpy()
    if "created" in columns.schema.names:
        created = columns.column("created").to_numpy()[row]
        start = np.where(start != 0, start, created)
    there = np.flatnonzero(start > 0)
    return {int(row[n]): (int(start[n]), int(ts[n])) for n in there[::-1].tolist()}


def _labels(pairs: list[tuple[str, str]]) -> _Labels | None:
    """Labels, without empty ones, which are none; None if they contradict each other."""
    if len({name for name, _ in pairs}) != len(pairs) or not all(name for name, _ in pairs):
        return None
    return {name: value for name, value in pairs if value}


def _named(found: _Labels | None, batch: Batch, points: int) -> tuple[str, _Labels] | None:
    """A metric and its labels, or None, counted as so many refused points, if they can't be had."""
    if found is None:
        batch.refusals.refuse(_LABELS, points)
        return None
    metric = found.pop("__name__", "")
    if not 0 < len(metric) <= batch.limits.value_length:
        batch.refusals.refuse(_NAME, points)
        return None
    labels = batch.labels(found, points)
    return None if labels is None else (metric, labels)


def _exemplar(number: int, of: tuple[_Labels, float, int], batch: Batch, clock: Clockwork) -> None:
    labels, value, ts_ms = of
    if clock.complaint(ts_ms * _NS_PER_MS) is not None or is_stale(value):
        return
    longest = batch.limits.value_length
    rest = {name: text[:longest] for name, text in labels.items() if name not in ("trace_id", "span_id")}
    span = labels.get("trace_id", "")[:64], labels.get("span_id", "")[:64]
    batch.exemplar(number, ts_ms, value, span, rest)


def _describe(columns: Any, keys: list[bytes], symbols: Any, batch: Batch) -> None:
    """The descriptions that rows carry, under the name of the family that their series belongs to."""
    metadata = columns.column("metadata")
    if metadata.null_count == len(metadata):
        return
    for row, of in enumerate(metadata.to_pylist()):
        if of is None or (of["type"] == 0 and not of["help"] and not of["unit"]):
            continue
        parts = keys[row].split(b"\xff")
        named = dict(zip(parts[::2], parts[1::2], strict=True)).get(b"__name__", b"").decode()
        kind = _type(of["type"])
        if kind in ("histogram", "gaugehistogram", "summary"):
            named = next((named.removesuffix(part) for part in _PARTS if named.endswith(part)), named)
        help_, unit = (symbols[ref].as_py() if ref < len(symbols) else "" for ref in (of["help"], of["unit"]))
        if named:
            batch.describe(named, kind, help_, unit)


def _items(lists: Any) -> Any:
    return zip(lists.flatten().to_pylist(), owners(lists).tolist(), strict=True)


def _type(number: int) -> str:
    return _TYPES[number] if 0 <= number < len(_TYPES) else _TYPES[0]
