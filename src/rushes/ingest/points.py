"""What the points of a metric have in common, whatever their kind: target, labels, exemplars, and their series."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar

from rushes.ingest.attributes import split
from rushes.ingest.batch import Batch
from rushes.ingest.columns import Clockwork
from rushes.ingest.labels import labels
from rushes.ingest.limits import Limits, expandable
from rushes.ingest.nested import Ints, joined, owners
from rushes.ingest.stats import Reason
from rushes.ingest.wire import parsed

__all__ = ["NO_VALUE_FLAG", "NS_PER_MS", "Named", "Points", "labels_of", "malformed", "too_many_buckets"]

NO_VALUE_FLAG: Final = 1  # OTLP's way to say that a series has ended
NS_PER_MS: Final = 1_000_000
_RESERVED: Final = Reason("reserved_label", "label names that start with two underscores are reserved")


class Named(NamedTuple):
    """A metric of a request: its name, its target's labels, the kind it has in Prometheus' words."""

    name: str
    target: dict[str, str]
    kind: str

    @property
    def prefix(self) -> bytes:
        """What keys of its points begin with."""
        parts = (self.name, self.target.get("job", ""), self.target.get("instance", ""), "")
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
        metric = self.metrics[self.metric_of[point]]
        encoded = self.columns.column("attributes")[point].as_py()
        of = [parsed(KeyValue(), raw) for raw in encoded]
        return labels_of(of, metric.target, self.batch, room)

    def exemplars(self, place: Any) -> None:
        """Keep the exemplars of the points; `place(point, exemplar)` says of which series, -1 for none."""
        lists = self.columns.column("exemplars")
        encoded, owner = lists.flatten(), owners(lists)
        kept = self.batch.room_for_exemplars(len(encoded))
        for raw, point in zip(encoded[:kept].to_pylist(), owner[:kept].tolist(), strict=True):
            exemplar = parsed(Exemplar(), raw)
            if self.clock.complaint(exemplar.time_unix_nano) is not None:
                continue
            value = exemplar.as_double if exemplar.HasField("as_double") else float(exemplar.as_int)
            number = place(point, value)
            if number < 0:
                continue
            strings, typed = split(exemplar.filtered_attributes, self.batch.limits, self.batch.refusals)
            self.batch.exemplar(
                number,
                exemplar.time_unix_nano // NS_PER_MS,
                value,
                (exemplar.trace_id.hex(), exemplar.span_id.hex()),
                labels(strings, typed),
            )


def labels_of(of: Any, target: dict[str, str], batch: Batch, room: int) -> dict[str, str] | None:
    """The labels of a point with these attributes, or None, counted, if they can't be had."""
    limit = batch.limits.labels
    if len(of) + len(target) + room > limit:
        batch.refusals.refuse(Reason("too_many_labels", f"more than {limit} labels"))
        return None
    found = labels(*split(of, batch.limits, batch.refusals)) | target
    if any(name.startswith("__") for name in found):
        batch.refusals.refuse(_RESERVED)
        return None
    return found


def too_many_buckets(limits: Limits) -> Reason:
    """Why a histogram, or a summary, that has too many of them is refused."""
    return Reason("too_many_buckets", f"more than {limits.buckets} buckets or quantiles")


def malformed(how: str) -> Reason:
    """Why a histogram that contradicts itself is refused."""
    return Reason("malformed_histogram", f"histogram {how}")
