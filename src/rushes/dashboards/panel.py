"""The words of a dashboard, so that one declaration serves the web UI and an export to Grafana alike.

Expressions use Grafana's two variables, which whoever evaluates them fills in: `$__range` (the whole time range
looked at) and `$__rate_interval` (the shortest window that holds several samples).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Dashboard", "Kind", "Panel", "Query", "Section", "Threshold", "Unit"]


class Kind(StrEnum):
    """How a panel shows its values."""

    STAT = "stat"
    PLOT = "plot"
    BARS = "bars"
    TABLE = "table"


class Unit(StrEnum):
    """What a value counts. Times are given in the unit named and scaled for people when they are shown."""

    COUNT = ""
    PERCENT = "%"
    SECONDS = "s"
    MILLISECONDS = "ms"
    PER_MINUTE = "/min"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A target of the specification, drawn as a dashed line with its value at the right edge."""

    value: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression.

    Attributes:
        legend: a series' name, with labels in braces ("{model} P50").
        dashed: drawn dashed, for the second statistic of the same series.
        window: a fixed time range instead of the one that is looked at ("24h").
    """

    expr: str
    legend: str = ""
    dashed: bool = False
    window: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        id: stable, for links and exports; unique in its dashboard.
        title: in the specification's words.
        queries: a stat has exactly one, which must evaluate to one series.
        good: where a stat's change is good: "up", "down", or "" where neither is.
        bar: a percentage that is also drawn as a bar.
        rows: label values that bars and tables always list, in this order, before others that appear.
        value_label: a table that shows this label's value instead of the number.
        hint: what the panel shows, in one sentence, for the tooltip and the export.
    """

    id: str
    title: str
    kind: Kind
    queries: tuple[Query, ...]
    unit: Unit = Unit.COUNT
    threshold: Threshold | None = None
    good: str = ""
    bar: bool = False
    rows: tuple[str, ...] = ()
    value_label: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        if self.kind is Kind.STAT and len(self.queries) != 1:
            raise ValueError(f"panel {self.id}: a stat has one query, got {len(self.queries)}")
        if not self.queries:
            raise ValueError(f"panel {self.id}: a panel has at least one query")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Panels under one heading of the specification's picture."""

    id: str
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page of sections, in the order of their importance."""

    id: str
    title: str
    sections: tuple[Section, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in order."""
        return tuple(panel for section in self.sections for panel in section.panels)
