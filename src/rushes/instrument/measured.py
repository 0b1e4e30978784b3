"""What one pipeline call leaves behind before it becomes spans: marks, not times, for a GPU's come later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span

from rushes.instrument.clock import Mark, Memory

__all__ = ["Close", "Leaf", "Open", "Stage", "Step"]


@dataclass(slots=True, eq=False)
class Stage:
    """A span with children. `last` is the end of what has been seen of it so far.

    `busy` are the intervals of its own calls (a VAE that decodes in two goes has two). `context` is the one in which
    its span is current, made once for all its children. `memory` is the device's at its beginning, until it is told;
    `memory_after` at the end of its own work, where that was looked at.
    """

    name: str
    start: Mark
    last: Mark
    parent: Stage | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    busy: list[tuple[Mark, Mark]] = field(default_factory=list)
    parts: list[tuple[str, Mark, Mark]] = field(default_factory=list)
    memory: Memory | None = None
    memory_after: Memory | None = None
    error: str | None = None
    span: Span | None = None
    context: Context | None = None
    adopted: bool = False


@dataclass(slots=True, eq=False)
class Leaf:
    """A span without children."""

    name: str
    start: Mark
    end: Mark
    parent: Stage
    attributes: dict[str, Any] = field(default_factory=dict)


class Step:
    """One denoising step, made once a step and so kept light.

    Attributes:
        first: whether it is the first that this loop computed.
        passes: marks, start and end in turn.
        names: what the pipeline calls the passes; None where it says nothing.
        parts: kind, start and end of each sub-module that ran; None where they were not measured.
        notes: name, start and end (host nanoseconds) and attributes of what the caller did within the step.
        skipped: modules by kind that a cache answered for; None where no cache is.
        collectives: start, end and whether it is a wait, of each; None where no process group is.
        settled: how many of the collectives came before the step's end.
    """

    __slots__ = (
        "collectives",
        "end",
        "first",
        "granularity",
        "index",
        "names",
        "notes",
        "parent",
        "parts",
        "passes",
        "settled",
        "skipped",
        "start",
    )

    def __init__(self, index: int, start: Mark, parent: Stage, granularity: str = "module") -> None:
        self.index = index
        self.start = start
        self.parent = parent
        self.granularity = granularity
        self.end: Mark = None
        self.first = False
        self.passes: list[Mark] = []
        self.names: list[str] | None = None
        self.notes: list[tuple[str, int, int, dict[str, Any]]] | None = None
        self.parts: list[tuple[str, Mark, Mark]] | None = None
        self.skipped: dict[str, int] | None = None
        self.collectives: list[tuple[Mark, Mark, bool]] | None = None
        self.settled = 0


@dataclass(slots=True, frozen=True)
class Open:
    """The stage's span can begin."""

    stage: Stage


@dataclass(slots=True, frozen=True)
class Close:
    """The stage's span can end."""

    stage: Stage
