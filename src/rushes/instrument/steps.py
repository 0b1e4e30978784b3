"""A denoising step's marks as its span, its metrics and, where it was sampled, a span a kind.

This is most of what an unsampled step costs, and nearly all of that is OpenTelemetry's own work for one span and one
value of a histogram: labels are checked once a call, and contexts are made once and handed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace as otel

from rushes.instrument.denoiser import BLOCK, CONTINUED
from rushes.instrument.kinds import KINDS, OTHER
from rushes.instrument.measured import Step
from rushes.sdk import instruments, tracing

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from rushes.instrument.clock import Clock
    from rushes.instrument.totals import Totals
    from rushes.sdk.instrument_types import Bound

__all__ = ["StepWriter"]

# Kinds are data here, so a type checker can't see that they are the label's values; the instrument checks them.
_STEP_MS: Final[Any] = instruments.dit_inference_step_duration_ms
_COMM_MS: Final[Any] = instruments.tensor_parallel_comm_duration_ms
_KIND_ORDER: Final = (*KINDS, OTHER)


class StepWriter:
    """Writes the steps of one call."""

    def __init__(self, clock: Clock, model: str, totals: Totals) -> None:
        self._clock = clock
        self._model = model
        self._totals = totals
        self._bound: dict[str, Bound] = {}

    def write(self, step: Step, parent: Context) -> None:
        """Writes a step whose marks are ready; `parent` is the context of the loop's span."""
        clock = self._clock
        begun, total = clock.at(step.start), clock.between(step.start, step.end)
        attributes: dict[str, Any]
        apart, executed = {}, None
        if step.parts is None:
            attributes = self._attributes(step, total)
        else:
            sums, executed = self._summed(step.parts)
            total = max(total, sum(sums.values()))  # rounding of a GPU's half microseconds
            attributes = self._attributes(step, total)
            if BLOCK in sums:
                attributes["rushes.ns.block"] = sums[BLOCK]
                attributes["rushes.executed.block"] = executed[BLOCK]
            else:
                sums[OTHER] = total - sum(sums.values())
                apart = {kind: sums[kind] for kind in _KIND_ORDER if kind in sums}
                for kind, ns in apart.items():
                    attributes[f"rushes.ns.{kind}"] = ns
                    if kind != OTHER:
                        attributes[f"rushes.executed.{kind}"] = executed[kind]
        shared = None if step.collectives is None else self._shared(step, attributes)
        span = tracing.record(f"step_{step.index}", begun, begun + total, attributes, context=parent)
        context = otel.set_span_in_context(span)
        for name, start, end, said in step.notes or ():
            tracing.record(name, start, end, said, context=context)
        self._ms("total")(total / 1e6, context=context)
        if executed is not None:
            self._apart(apart, executed, begun, context)
        if shared is not None:
            _COMM_MS.bound(model=self._model)(shared / 1e6, context=context)
        self._totals.step(self._model, total, apart, first=step.first)

    def _ms(self, kind: str) -> Bound:
        bound = self._bound.get(kind)
        if bound is None:
            bound = self._bound[kind] = _STEP_MS.bound(model=self._model, step_type=kind)
        return bound

    def _summed(self, parts: list[tuple[str, Any, Any]]) -> tuple[Counter[str], Counter[str]]:
        sums, executed = Counter[str](), Counter[str]()
        between = self._clock.between
        for kind, start, end in parts:
            sums[kind] += between(start, end)
            executed[kind] += 1
        for kind in [kind for kind in sums if kind.startswith(CONTINUED)]:
            sums[kind.removeprefix(CONTINUED)] += sums.pop(kind)
            del executed[kind]
        if self._clock.name == "gpu":
            self._clock.release(
                list({mark for part in parts for mark in part[1:]})
            )  # neighbours share theirs
        return sums, executed

    def _attributes(self, step: Step, total: int) -> dict[str, Any]:
        passes = step.passes
        attributes: dict[str, Any] = {
            "step": step.index,
            "step_duration_ms": total / 1e6,
            "rushes.ns.total": total,
            "rushes.passes": len(passes) // 2,
            "rushes.clock": self._clock.name,
        }
        if step.first:
            attributes["rushes.first_step"] = True
        if step.names:
            attributes["rushes.pass_names"] = step.names
        if len(passes) > 2:  # noqa: PLR2004 - one pass is the step itself
            ends = zip(passes[::2], passes[1::2], strict=False)
            attributes["rushes.pass_ms"] = [self._clock.between(start, end) / 1e6 for start, end in ends]
        if step.granularity != "module":
            attributes["rushes.granularity"] = step.granularity
        if step.skipped:
            for kind, count in step.skipped.items():
                attributes[f"rushes.skipped.{kind}"] = count
        return attributes

    def _shared(self, step: Step, attributes: dict[str, Any]) -> int | None:
        """Nanoseconds that the step's work stood still for collectives; None where there were none."""
        marks = step.collectives or []
        found = marks[: step.settled]
        waited = sum(self._clock.between(start, end) for start, end, _ in found)
        self._clock.release([mark for one in marks for mark in one[:2]])
        if not found:
            return None
        attributes["rushes.parallel.comm_ns"] = waited
        attributes["rushes.parallel.collectives"] = sum(not is_wait for _, _, is_wait in found)
        return waited

    def _apart(
        self, apart: Mapping[str, int], executed: Mapping[str, int], begun: int, step: Context
    ) -> None:
        """A span a kind, laid end to end: each is a sum over the step, whose parts interleave."""
        for kind, ns in apart.items():
            attributes: dict[str, bool | int] = {"rushes.aggregated": True}
            if kind != OTHER:
                attributes["rushes.executed"] = executed[kind]
            tracing.record(kind, begun, begun + ns, attributes, context=step)
            self._ms(kind)(ns / 1e6, context=step)
            begun += ns
