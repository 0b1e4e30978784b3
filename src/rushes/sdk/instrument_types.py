"""Counters, gauges and histograms that know their declaration: labels are checked, names and buckets are exact.

They work on whatever meter provider OpenTelemetry has in the process, set before or after they are made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from opentelemetry import metrics as otel
from opentelemetry.context import Context

from rushes.catalog import Kind, Metric
from rushes.sdk.policy import reject

__all__ = ["Bound", "Counter", "Gauge", "Histogram", "Instrument", "Observe", "make"]

Observe = Callable[[], Iterable[tuple[float, Mapping[str, str]]]]

_METER: Final = otel.get_meter("rushes")


class Bound(Protocol):
    """Records a value in the metric's unit, with labels that are settled."""

    def __call__(self, amount: float, /, *, context: Context | None = None) -> None:
        """Records it."""


def _nothing(amount: float, /, *, context: Context | None = None) -> None:
    del amount, context


class Instrument:
    """What all instruments share: the declaration, and the check of labels against it."""

    def __init__(self, metric: Metric) -> None:
        self.metric: Final = metric
        self._names: Final = frozenset(metric.label_names)
        self._closed: Final = {label.name: frozenset(label.values) for label in metric.labels if label.values}

    def _checked(self, labels: Mapping[str, str]) -> dict[str, str] | None:
        if labels.keys() != self._names:
            reject(self.metric.name, f"labels {sorted(labels)} given, {sorted(self._names)} declared")
            return None
        for name, values in self._closed.items():
            if labels[name] not in values:
                reject(self.metric.name, f"label {name} has no value {labels[name]!r}")
                return None
        return dict(labels)

    def _observed(self, callback: Observe) -> Callable[[otel.CallbackOptions], Iterable[otel.Observation]]:
        def observe(_options: otel.CallbackOptions) -> Iterable[otel.Observation]:
            for value, labels in callback():
                checked = self._checked(labels)
                if checked is not None:
                    yield otel.Observation(value, checked)

        return observe

    def _declaration(self) -> dict[str, Any]:
        return {"name": self.metric.name, "unit": self.metric.otlp_unit, "description": self.metric.help}


class Counter(Instrument):
    """A sum that only grows: added to, or read from a callback at collection."""

    _instrument: otel.Counter | None = None

    def add(self, amount: float = 1, **labels: str) -> None:
        """Adds to the series of these labels. Labels outside the declaration are rejected (see sdk.policy)."""
        checked = self._checked(labels)
        if checked is not None:
            if self._instrument is None:
                self._instrument = _METER.create_counter(**self._declaration())
            self._instrument.add(amount, checked)

    def observe(self, callback: Observe) -> None:
        """Reads (value, labels) pairs from `callback` at each collection."""
        _METER.create_observable_counter(callbacks=[self._observed(callback)], **self._declaration())

    def zero(self, **known: Iterable[str]) -> None:
        """Creates the series at 0 for each combination of closed labels, and of `known` values for open ones.

        A counter born at 1 hides its first event from rate() and increase().
        """
        values = [known.get(label.name, label.values) for label in self.metric.labels]
        for combination in itertools.product(*values):
            self.add(0, **dict(zip(self.metric.label_names, combination, strict=True)))


class Gauge(Instrument):
    """A value that goes up and down: set, or read from a callback at collection."""

    _instrument: otel._Gauge | None = None

    def set(self, value: float, **labels: str) -> None:
        """Sets the series of these labels."""
        checked = self._checked(labels)
        if checked is not None:
            if self._instrument is None:
                self._instrument = _METER.create_gauge(**self._declaration())
            self._instrument.set(value, checked)

    def observe(self, callback: Observe) -> None:
        """Reads (value, labels) pairs from `callback` at each collection."""
        _METER.create_observable_gauge(callbacks=[self._observed(callback)], **self._declaration())


class Histogram(Instrument):
    """A distribution over the declared buckets; a value recorded inside a sampled span carries its exemplar."""

    _instrument: otel.Histogram | None = None

    def record(self, value: float, **labels: str) -> None:
        """Records one value, in the metric's unit."""
        checked = self._checked(labels)
        if checked is not None:
            if self._instrument is None:
                self._instrument = self._make()
            self._instrument.record(value, checked)

    def _make(self) -> otel.Histogram:
        return _METER.create_histogram(
            explicit_bucket_boundaries_advisory=list(self.metric.buckets), **self._declaration()
        )

    def bound(self, **labels: str) -> Bound:
        """Records with these labels, which are checked once: for whoever records many values in a row.

        It takes the value, and `context=`, the OpenTelemetry context whose span the value's exemplar names; without
        one that is the current span.
        """
        checked = self._checked(labels)
        if checked is None:
            return _nothing
        if self._instrument is None:
            self._instrument = self._make()
        return partial(self._instrument.record, attributes=checked)


def make(metric: Metric) -> Instrument:
    """The instrument of a declaration."""
    match metric.kind:
        case Kind.COUNTER:
            return Counter(metric)
        case Kind.GAUGE:
            return Gauge(metric)
        case Kind.HISTOGRAM:
            return Histogram(metric)
