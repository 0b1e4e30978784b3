"""What one request brings in metrics, gathered in the order in which the store has to have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rushes.ingest.deltas import Sums
from rushes.ingest.histograms import Native
from rushes.ingest.limits import Limits, expandable
from rushes.ingest.nested import Ints
from rushes.ingest.series import TOO_MANY, Series
from rushes.ingest.stats import Reason, Refusals
from rushes.store.interface import Table
from rushes.store.schema import ARROW

__all__ = ["BORN_WITHIN_MS", "Batch", "Description"]

BORN_WITHIN_MS: Final = 300_000  # an older beginning is history that the store did not see
_SHOWN: Final = 100  # characters of a metric's name in a reply


class Description(NamedTuple):
    """What a metric is: its type in Prometheus' words, what it measures, and its unit."""

    type: str
    help: str
    unit: str


class Batch:
    """Samples, histograms, exemplars, new series and descriptions of one request. Its owner holds a lock meanwhile.

    Args:
        series: all series.
        limits: what is accepted.
        refusals: counts what is refused.
        now_s: the time, in seconds.
        sums: what deltas add up to.
    """

    def __init__(self, series: Series, limits: Limits, refusals: Refusals, now_s: int, sums: Sums) -> None:
        self.series = series
        self.limits = limits
        self.refusals = refusals
        self.now_s = now_s
        self.sums = sums
        self.descriptions: dict[str, Description] = {}
        self._told: dict[int, dict[str, str]] = {}
        self._told_bytes = 0
        self._chunks: list[tuple[Ints, Any, Any]] = []
        self._single: list[tuple[int, int, float]] = []
        self._histograms: list[tuple[Any, ...]] = []
        self._exemplars: list[tuple[Any, ...]] = []
        series.sweep_when_due(now_s)

    def labels(self, found: dict[str, str], points: int = 1) -> dict[str, str] | None:
        """Labels as they can be had: long values cut. None if they can't, counted as so many refused points."""
        if len(found) > self.limits.labels:
            self.refusals.refuse(Reason("too_many_labels", f"more than {self.limits.labels} labels"), points)
            return None
        longest = self.limits.value_length
        if any(len(name) > longest for name in found):
            self.refusals.refuse(
                Reason("bad_labels", f"label with a name of more than {longest} characters"), points
            )
            return None
        for name, value in found.items():
            if len(value) > longest:
                self.refusals.cut += 1
                found[name] = value[:longest]
        return found

    def admit(self, metric: str, labels: dict[str, str], points: int = 1) -> tuple[int, bool] | None:
        """The number of a series, and whether it is new; None, counted as so many points, if there are too many."""
        found = self.series.admit(metric, labels, self.now_s)
        if isinstance(found, Reason):
            self.refusals.refuse(self._named(found, metric), points)
            return None
        self.use(found[0], labels)
        return found

    def use(self, number: int, labels: dict[str, str]) -> None:
        """A series with these labels is used: tell the store of it if that is due."""
        if self.series.use(np.array([number]), self.now_s)[0]:
            self.tell(number, labels)

    def numbers(
        self,
        keys: Sequence[bytes | str],
        named: Callable[[int], tuple[str, dict[str, str]] | None],
        *,
        points: Callable[[int], int] = lambda _: 1,
        born: Callable[[int], tuple[int, int] | None] = lambda _: None,
    ) -> Ints:
        """The series of each row of a source, -1 for those that are refused.

        Args:
            keys: of each row, the bytes or the text that its series is known by.
            named: a row's metric and labels; None, counted already, if they can't be had.
            points: how many are refused with a row.
            born: when a row began to count and when it was first measured, in milliseconds, if it says so.
        """
        numbers = self.series.hold(self.series.find(keys), self.now_s)
        for row in np.flatnonzero(numbers < 0).tolist():
            again = int(self.series.find([keys[row]])[0])  # a second row of a series that is new here
            if again >= 0:
                numbers[row] = again
                continue
            of = named(row)
            admitted = None if of is None else self.admit(*of, points(row))
            if admitted is None:
                continue
            numbers[row], new = admitted
            self.series.bind(keys[row], admitted[0])
            span = born(row) if new else None
            if span is not None:
                self.born(admitted[0], *span)
        known = np.flatnonzero(numbers >= 0)
        for row in known[self.series.use(numbers[known], self.now_s)].tolist():
            of = None if int(numbers[row]) in self._told else named(row)
            if of is not None:
                self.tell(int(numbers[row]), of[1])
        return numbers

    def _named(self, reason: Reason, metric: str) -> Reason:
        """The same reason, with the metric that is at fault."""
        if reason != TOO_MANY:
            return reason
        return Reason(reason.code, f"{metric[:_SHOWN]} has more than {self.limits.series_per_metric} series")

    def tell(self, number: int, labels: dict[str, str]) -> None:
        """The store has to be told (again) of a series. Raises BodyTooLarge if that becomes too much at once."""
        if number not in self._told:
            self._told[number] = labels
            self._told_bytes += sum(map(len, labels)) + sum(map(len, labels.values()))
            expandable(self._told_bytes, self.limits)

    def room_for_exemplars(self, wanted: int) -> int:
        """How many of so many exemplars may be kept; the others are counted as cut."""
        kept = max(0, min(wanted, self.limits.exemplars - len(self._exemplars)))
        self.refusals.cut += wanted - kept
        return kept

    def samples(self, numbers: Ints, ts_ms: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
        """Samples of known series."""
        self._chunks.append((numbers, ts_ms, values))

    def sample(self, number: int, ts_ms: int, value: float) -> None:
        self._single.append((number, ts_ms, value))

    def born(self, number: int, start_ms: int, ts_ms: int) -> None:
        """A cumulative series that is new was 0 when it began to count, which the point says.

        Without that sample rate() and increase() miss what a series was born with: a first video, a first error.
        Prometheus does the same under the feature flag created-timestamp-zero-ingestion.
        """
        if start_ms > 0 and 0 < ts_ms - start_ms <= BORN_WITHIN_MS:
            self.sample(number, start_ms, 0.0)

    def histogram(self, number: int, ts_ms: int, of: Native) -> None:
        """A native histogram of a series."""
        positive, negative = sorted(of.positive.items()), sorted(of.negative.items())
        self._histograms.append(
            (
                self.series.metric(number),
                self.series.id(number),
                ts_ms,
                of.count,
                of.sum,
                of.schema,
                int(of.gauge),
                of.zero_threshold,
                of.zero_count,
                [index for index, _ in positive],
                [count for _, count in positive],
                [index for index, _ in negative],
                [count for _, count in negative],
                list(of.bounds),
            )
        )

    def exemplar(
        self, number: int, ts_ms: int, value: float, span: tuple[str, str], labels: dict[str, str]
    ) -> None:
        """An example of what a series measured; `span` has the ids of its trace and span, or two empty texts."""
        self._exemplars.append(
            (self.series.metric(number), self.series.id(number), ts_ms, value, *span, labels)
        )

    def describe(self, metric: str, kind: str, help_: str, unit: str) -> None:
        longest = self.limits.value_length
        self.descriptions[metric] = Description(kind, help_[:longest], unit[:longest])

    @property
    def told(self) -> list[int]:
        """The series that the store will have been told of."""
        return list(self._told)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many samples, histograms and exemplars there are."""
        samples = len(self._single) + sum(len(numbers) for numbers, _, _ in self._chunks)
        return samples, len(self._histograms), len(self._exemplars)

    def tables(self, descriptions: dict[str, Description]) -> Iterator[tuple[Table, Any]]:
        """The store's tables in the order in which they must be inserted: a sample without series can't be found."""
        if self._told:
            numbers = np.array(list(self._told), np.int64)
            metric, identity = self.series.columns(numbers)
            labels = pa.array(
                [list(of.items()) for of in self._told.values()], pa.map_(pa.string(), pa.string())
            )
            seen = pa.array(np.full(len(numbers), self.now_s, np.uint32))
            yield "series", _table("series", [metric, identity, labels, seen])
        if descriptions:
            rows = [(metric, *of, self.now_s) for metric, of in descriptions.items()]
            yield "metrics", _transposed("metrics", rows)
        chunks = list(self._chunks)
        if self._single:
            numbers_, ts_, values_ = zip(*self._single, strict=True)
            chunks.append(
                (np.array(numbers_, np.int64), np.array(ts_, np.int64), np.array(values_, np.float64))
            )
        if chunks:
            metric, identity = self.series.columns(np.concatenate([numbers for numbers, _, _ in chunks]))
            ts = pa.array(np.concatenate([ts for _, ts, _ in chunks]).astype(np.int64))
            values = pa.array(np.concatenate([values for _, _, values in chunks]), pa.float64())
            yield "samples", _table("samples", [metric, identity, ts, values])
        if self._histograms:
            yield "histograms", _transposed("histograms", self._histograms)
        if self._exemplars:
            yield (
                "exemplars",
                _transposed("exemplars", [(*r[:-1], list(r[-1].items())) for r in self._exemplars]),
            )


def _table(table: Table, columns: list[Any]) -> Any:
    schema = ARROW[table]
    return pa.table(
        [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def _transposed(table: Table, rows: list[tuple[Any, ...]]) -> Any:
    schema = ARROW[table]
    columns = zip(*rows, strict=True)
    return pa.table(
        [pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
