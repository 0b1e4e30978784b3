"""What one pipeline call leaves behind before it becomes spans: marks, not times, for a GPU's come later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import Span

from rushes.instrument.clock import Mark, Memory

__all__ = ["Close", "Leaf", "Open", "Stage", "Step"]


@dataclass(slots=True, eq=False)
class Stage:
    """A span with children. `last` is the end of what has been seen of it so far.

    `busy` are the intervals of its own calls (a VAE that decodes in two goes has two).
    """

    name: str
    start: Mark
    last: Mark
    parent: Stage | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    busy: list[tuple[Mark, Mark]] = field(default_factory=list)
    parts: list[tuple[str, Mark, Mark]] = field(default_factory=list)
    memory: Memory | None = None
    error: str | None = None
    span: Span | None = None
    adopted: bool = False


@dataclass(slots=True, eq=False)
class Leaf:
    """A span without children."""

    name: str
    start: Mark
    end: Mark
    parent: Stage
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Step:
    """One denoising step. `parts` is None where sub-modules were not measured; `passes` alternates start, end."""

    index: int
    start: Mark
    parent: Stage
    end: Mark = None
    granularity: str = "module"
    passes: list[Mark] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    parts: list[tuple[str, Mark, Mark]] | None = None
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Open:
    """The stage's span can begin."""

    stage: Stage


@dataclass(slots=True, frozen=True)
class Close:
    """The stage's span can end."""

    stage: Stage
