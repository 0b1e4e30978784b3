"""Where the time went, summed up: what `report()` prints. Bounded by the number of models and stages."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["TOTALS", "Totals"]

_STAGES: Final = ("prompt_processing", "dit_inference", "vae_decode", "audio_generation")


@dataclass(slots=True)
class _Sum:
    calls: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.calls += 1
        self.ns += ns

    @property
    def mean_ms(self) -> float:
        return self.ns / self.calls / 1e6 if self.calls else 0.0


@dataclass(slots=True)
class _Model:
    stages: dict[str, _Sum] = field(default_factory=dict)
    first_steps: _Sum = field(default_factory=_Sum)
    steps: _Sum = field(default_factory=_Sum)
    sampled: _Sum = field(default_factory=_Sum)
    kinds: dict[str, int] = field(default_factory=dict)
    outside: _Sum = field(default_factory=_Sum)


class Totals:
    """Sums by model. Several threads may add."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}
        self._lock = threading.Lock()

    def stage(self, model: str, name: str, ns: int) -> None:
        """A span of this name has taken so many nanoseconds."""
        with self._lock:
            self._of(model).stages.setdefault(name, _Sum()).add(ns)

    def step(self, model: str, total_ns: int, kinds: Mapping[str, int], *, first: bool) -> None:
        """A denoising step; `kinds` are its parts, where they were measured."""
        with self._lock:
            sums = self._of(model)
            (sums.first_steps if first else sums.steps).add(total_ns)
            if kinds:
                sums.sampled.add(total_ns)
                for kind, ns in kinds.items():
                    sums.kinds[kind] = sums.kinds.get(kind, 0) + ns

    def outside(self, model: str, ns: int) -> None:
        """So much of a pipeline's call belongs to none of its stages."""
        with self._lock:
            self._of(model).outside.add(ns)

    def _of(self, model: str) -> _Model:
        sums = self._models.get(model)
        if sums is None:
            sums = self._models[model] = _Model()
        return sums

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._models.clear()

    def table(self) -> str:
        """A table a model: stages with their share of the time, steps, and kinds with their share of a step.

        What a call does outside of its stages (moving weights, making frames into pictures) is the last row.
        """
        with self._lock:
            if not self._models:
                return "rushes: nothing was measured; call an instrumented pipeline first"
            return "\n\n".join(_model(name, sums) for name, sums in sorted(self._models.items()))


def _model(name: str, sums: _Model) -> str:
    whole = sum(s.ns for stage, s in sums.stages.items() if stage in _STAGES) + sums.outside.ns
    rows: list[tuple[str, ...]] = [("", "calls", "seconds", "mean ms", "share")]
    ordered = [stage for stage in _STAGES if stage in sums.stages]
    for stage in ordered:
        rows.append(_row(stage, sums.stages[stage], whole))
        if stage == "dit_inference":
            for label, steps in (("first step", sums.first_steps), ("further steps", sums.steps)):
                if steps.calls:
                    rows.append(_row(f"  {label}", steps, whole))
            rows.extend(_kinds(sums))
        rows.extend(
            _row(f"  {part}", sums.stages[part], whole) for part in sums.stages if _inside(part, stage)
        )
    if sums.outside.calls:
        rows.append(_row("outside of stages", sums.outside, whole))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([f"Where the time of {name} went", *lines])


def _inside(part: str, stage: str) -> bool:
    return (
        (stage == "prompt_processing" and part.startswith("text_encoder."))
        or (stage == "dit_inference" and part == "noise.initialize")
        or (stage == "vae_decode" and part.endswith("_upsample"))
    )


def _kinds(sums: _Model) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for kind, ns in sorted(sums.kinds.items(), key=lambda item: -item[1]):
        share = ns / sums.sampled.ns if sums.sampled.ns else 0.0
        mean = ns / sums.sampled.calls / 1e6
        rows.append(
            (f"    {kind}", str(sums.sampled.calls), f"{ns / 1e9:.3f}", f"{mean:.2f}", f"{share:.1%} of step")
        )
    return rows


def _row(label: str, sums: _Sum, whole: int) -> tuple[str, ...]:
    share = f"{sums.ns / whole:.1%}" if whole else ""
    return (label, str(sums.calls), f"{sums.ns / 1e9:.3f}", f"{sums.mean_ms:.2f}", share)


TOTALS: Final = Totals()
