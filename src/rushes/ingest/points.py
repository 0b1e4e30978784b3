"""What the points of a metric have in common, whatever their kind: target, labels, exemplars, and their series."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar

from rushes.ingest.attributes import split
from rushes.ingest.batch import Batch
from rushes.ingest.columns import Clockwork
from rushes.ingest.labels import labels
from rushes.ingest.limits import expandable
from rushes.ingest.nested import Ints, joined, owners
from rushes.ingest.stats import Reason
from rushes.ingest.targets import Target
from rushes.ingest.wire import parsed

__all__ = [
    "NO_VALUE_FLAG",
    "NS_PER_MS",
    "Named",
    "Points",
    "keep_exemplar",
    "labels_of",
]

NO_VALUE_FLAG: Final = 1  # OTLP's way to say that a series has ended
NS_PER_MS: Final = 1_000_000
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_RESERVED: Final = Reason("reserved_label", "label names that start with two underscores are reserved")


class Named(NamedTuple):
    """A metric of a request: its name, its target, the kind it has in Prometheus' words."""

    name: str
    target: Target
    kind: str

    @property
    def prefix(self) -> bytes:
        """What keys of its points begin with."""
        of = self.target.labels
        parts = (self.name, of.get("job", ""), of.get("instance", ""), "")
        return b"\xff".join(part.encode() for part in parts)


class Points:
    """The points of one kind in a request, as columns, with the metric that each belongs to."""

    def __init__(
        self, columns: Any, metric_of: Ints, metrics: list[Named], batch: Batch, clock: Clockwork
    ) -> None:
        self.columns = columns
        self.metric_of = metric_of
        self.metrics = metrics
        self.batch = batch
        self.clock = clock

    def taken(self, keep: Any) -> Points:
        """Only these points, which their targets are told of."""
        found = self.where(keep)
        if len(found.metric_of):
            order = np.argsort(found.metric_of, kind="stable")
            metrics, starts = np.unique(found.metric_of[order], return_index=True)
            times = found.ts_ms[order]
            first, last = np.minimum.reduceat(times, starts), np.maximum.reduceat(times, starts)
            for metric, *span in zip(metrics.tolist(), first.tolist(), last.tolist(), strict=True):
                found.metrics[metric].target.seen(*span)
        return found

    def where(self, keep: Any) -> Points:
        """Only these points."""
        if keep.all():
            return self
        return Points(
            self.columns.filter(pa.array(keep)), self.metric_of[keep], self.metrics, self.batch, self.clock
        )

    def number(self, name: str) -> Any:
        """A numeric column without nulls."""
        return self.columns.column(name).to_numpy()

    @property
    def ts_ms(self) -> Ints:
        found: Ints = (self.number("time") // NS_PER_MS).astype(np.int64)
        return found

    @property
    def ended(self) -> Any:
        """Which points say that their series has ended."""
        return (self.number("flags") & NO_VALUE_FLAG) != 0

    def keys(self) -> list[bytes]:
        """For each point the bytes that its series is known by."""
        prefixes = [metric.prefix for metric in self.metrics]
        sizes = np.array([len(prefix) for prefix in prefixes], np.int64)
        expandable(int(sizes[self.metric_of].sum()), self.batch.limits)
        # No encoded attribute begins with a zero, so that what is joined by zeros can be told apart again.
        lists = self.columns.column("attributes")
        attributes = joined(lists, lists.flatten(), b"\x00")
        return [prefixes[metric] + of for metric, of in zip(self.metric_of.tolist(), attributes, strict=True)]

    def labels(self, point: int, room: int = 0) -> dict[str, str] | None:
        """The labels of a point, or None, counted, if they can't be had."""
        encoded = self.columns.column("attributes")[point].as_py()
        of = [parsed(KeyValue(), raw) for raw in encoded]
        return labels_of(of, self.metrics[self.metric_of[point]].target, self.batch, room)

    def exemplars(self, place: Callable[[int, float], int]) -> None:
        """Keep the exemplars of the points; `place(point, exemplar)` says of which series, -1 for none."""
        lists = self.columns.column("exemplars")
        encoded, owner = lists.flatten(), owners(lists)
        kept = self.batch.room_for_exemplars(len(encoded))
        for raw, point in zip(encoded[:kept].to_pylist(), owner[:kept].tolist(), strict=True):
            keep_exemplar(parsed(Exemplar(), raw), partial(place, point), self.batch, self.clock)


def keep_exemplar(of: Any, place: Callable[[float], int], batch: Batch, clock: Clockwork) -> None:
    """Keep an exemplar; `place` says by its value of which series it is, -1 for none."""
    if clock.complaint(of.time_unix_nano) is not None:
        return
    value = of.as_double if of.HasField("as_double") else float(of.as_int)
    number = place(value)
    if number < 0:
        return
    attributes = split(of.filtered_attributes, batch.limits, batch.refusals).readable
    span = (_id(of.trace_id, _TRACE_ID_BYTES), _id(of.span_id, _SPAN_ID_BYTES))
    batch.exemplar(number, of.time_unix_nano // NS_PER_MS, value, span, labels(attributes))


def _id(raw: bytes, size: int) -> str:
    """An id as hex; one of another size says that there is none."""
    return raw.hex() if len(raw) == size and any(raw) else ""


def labels_of(of: Any, target: Target, batch: Batch, room: int) -> dict[str, str] | None:
    """The labels of a point with these attributes, or None, counted, if they can't be had, with so many to come."""
    limit = batch.limits.labels
    if len(of) + len(target.labels) + room > limit:
        batch.refusals.refuse(Reason("too_many_labels", f"more than {limit} labels"))
        return None
    found = labels(split(of, batch.limits, batch.refusals).readable) | target.labels
    if any(name.startswith("__") for name in found):
        batch.refusals.refuse(_RESERVED)
        return None
    return batch.labels(found)
