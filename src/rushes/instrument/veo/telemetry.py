"""What a caller is told of a video's way through Google's API, to make spans and metrics of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from rushes.instrument.veo.failure import Failure

__all__ = ["Silent", "Stage", "StageName", "Telemetry"]

StageName: TypeAlias = Literal["submit", "wait", "download"]
AttributeValue: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that has ended: nanoseconds since the epoch, attributes (never the prompt), and why it failed."""

    name: StageName
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue]
    failure: Failure | None = None


class Telemetry(Protocol):
    """Told of stages, in the caller's thread. What it raises is swallowed."""

    def stage_ended(self, stage: Stage) -> None:
        """A stage has ended, well or not."""


class Silent:
    """Tells nobody."""

    def stage_ended(self, stage: Stage) -> None:
        """Does nothing."""
