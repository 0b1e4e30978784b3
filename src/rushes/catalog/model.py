"""The words of the catalog: what a metric, span or log event is, so that every signal can be declared as data.

Declarations carry all that the instruments, `/metrics`, the reference and later the dashboards and rules need;
nothing about a signal is written down in a second place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["Attribute", "Kind", "Label", "Level", "LogEvent", "Metric", "Span", "Status"]

# UCUM units whose Prometheus suffix the specification's names already carry, so that no translator adds one.
_SUFFIXED_UNITS: Final = {"s": "_seconds", "By": "_bytes", "Cel": "_celsius", "%": "_percent"}


class Kind(StrEnum):
    """A metric's type, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Status(StrEnum):
    """Whether the running platform emits a declared signal today."""

    STABLE = "stable"
    PENDING = "pending"  # declared, and not emitted by the platform yet: shown as such, never pretended


class Level(StrEnum):
    """Log levels of the specification, "Log Levels and Content"."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Label:
    """A metric's label. A closed set lists its `values`; an open one (model, worker) leaves them empty."""

    name: str
    help: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One time series family under the specification's exact name.

    Attributes:
        unit: UCUM ("s", "ms", "By", "%", "Cel", "Gbit/s", "USD"), empty for counts and ratios.
        buckets: upper bounds of a histogram in `unit`, without +Inf.
        target: the target or alert threshold that the specification gives, in its words.
        requires: what there must be for such a series to exist, such as "a GPU".
    """

    name: str
    kind: Kind
    help: str
    section: str
    labels: tuple[Label, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    target: str = ""
    status: Status = Status.STABLE
    specified: bool = True
    requires: str = ""

    def __post_init__(self) -> None:
        if bool(self.buckets) != (self.kind is Kind.HISTOGRAM):
            raise ValueError(f"{self.name}: a histogram has buckets and nothing else has, got {self.buckets}")
        if list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError(f"{self.name}: buckets must ascend, got {self.buckets}")
        if not self.specified and not self.name.startswith("rushes_"):
            raise ValueError(f"{self.name}: what the specification does not name is prefixed rushes_")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The declared label names, in the specification's order."""
        return tuple(label.name for label in self.labels)

    @property
    def otlp_unit(self) -> str:
        """The unit to send by OTLP.

        Translators to Prometheus append a unit's name unless the metric's name ends with it: `_ms` with unit
        `ms` became `_ms_milliseconds`. Units in braces are annotations in UCUM, which translators leave out.
        """
        suffix = _SUFFIXED_UNITS.get(self.unit)
        if suffix is not None and self.name.endswith(suffix):
            return self.unit
        return f"{{{self.unit}}}" if self.unit else ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A span attribute, or a field of a log event's context."""

    name: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span of a video's trace. `name` may end in `_N`, where N counts from 1.

    `requires` is what there must be for such a span to be written, such as a model of a certain make.
    """

    name: str
    parent: str | None
    purpose: str
    attributes: tuple[Attribute, ...] = ()
    status: Status = Status.STABLE
    specified: bool = True
    requires: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """A log line's `event`, with the level it is usually written at and the fields its context may have."""

    name: str
    level: Level
    message: str
    fields: tuple[Attribute, ...] = ()
