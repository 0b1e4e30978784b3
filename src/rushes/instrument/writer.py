"""Turns marks into spans and metrics, in the order of the work, as soon as their times are known.

On a host they are known at once; on a GPU when it has got there. What is not known when a call returns waits here
and is written at the next opportunity: another call, a report, the end of the process.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace as otel

from rushes.instrument.denoiser import BLOCK
from rushes.instrument.kinds import KINDS, OTHER
from rushes.instrument.measured import Close, Leaf, Open, Stage, Step
from rushes.instrument.totals import Totals
from rushes.instrument.vae_parts import DECODER
from rushes.sdk import instruments, tracing
from rushes.sdk.policy import is_strict

if TYPE_CHECKING:
    from rushes.instrument.clock import Clock

__all__ = ["Writer", "drain_waiting"]

_waiting: Final[deque[Writer]] = deque(maxlen=1024)
# Kinds are data here, so a type checker can't see that they are the label's values; the instrument checks them.
_step_ms: Final[Any] = instruments.dit_inference_step_duration_ms.record
_SECONDS: Final[Mapping[str, Any]] = {
    "vae_decode": instruments.vae_decode_duration_seconds,
    "audio_generation": instruments.audio_generation_duration_seconds,
}
_KIND_ORDER: Final = (*KINDS, OTHER)


class Writer:
    """Writes one call's spans under `parent`, the span that was current when the call began."""

    def __init__(
        self, clock: Clock, parent: otel.Span, model: str, totals: Totals, common: Mapping[str, Any]
    ) -> None:
        self.attributed_ns = 0
        self.failed = False
        self._clock = clock
        self._parent = parent
        self._parent_name = getattr(parent, "name", None)
        self._model = model
        self._totals = totals
        self._common = dict(common)
        self._queue: deque[Open | Close | Leaf | Step] = deque()
        self._marks: set[Any] = set()
        self._finished = False
        self._lock = threading.Lock()

    def put(self, item: Open | Close | Leaf | Step) -> None:
        """In the order of the work."""
        self._queue.append(item)

    def untouched(self, stage: Stage) -> bool:
        """Whether the stage's beginning is not written yet."""
        return stage.span is None

    @property
    def done(self) -> bool:
        """Whether all is written."""
        return not self._queue

    def finish(self) -> None:
        """The call is over: what can be written is, the rest waits."""
        self._finished = True
        self.drain()
        if self._queue:
            _waiting.append(self)

    def drain(self) -> None:
        """Writes what is known. Never waits for the device."""
        with self._lock:
            try:
                while self._queue and self._clock.ready(_gate(self._queue[0])):
                    self._write(self._queue.popleft())
            except Exception:
                self.failed = True
                self._queue.clear()
                if is_strict():
                    raise
            if self._finished and not self._queue and self._marks:
                self._clock.release(list(self._marks))
                self._marks.clear()

    def _write(self, item: Open | Close | Leaf | Step) -> None:
        match item:
            case Open(stage):
                self._open(stage)
            case Close(stage):
                self._close(stage)
            case Leaf():
                self._keep(item.start, item.end)
                if self._parent_name != item.name:  # else the caller's own span is about this very work
                    self._record(item.name, item.start, item.end, item.attributes, item.parent)
                self._totals.stage(self._model, item.name, self._clock.between(item.start, item.end))
            case Step():
                self._step(item)

    def _keep(self, *marks: Any) -> None:
        if self._clock.name == "gpu":
            self._marks.update(marks)

    def _span_of(self, stage: Stage | None) -> otel.Span:
        return self._parent if stage is None or stage.span is None else stage.span

    def _record(self, name: str, start: Any, end: Any, attributes: dict[str, Any], parent: Stage) -> None:
        begun = self._clock.at(start)
        if name.startswith("text_encoder."):
            attributes = {"model": self._model, **attributes}
        tracing.record(
            name, begun, begun + self._clock.between(start, end), attributes, parent=self._span_of(parent)
        )

    # Stages

    def _adopts(self, stage: Stage) -> bool:
        """Whether the caller has opened this stage's span itself, as a service with its own stages does."""
        current = self._parent_name
        if current is None:
            return False
        return current == stage.name or (
            stage.name == "prompt_processing" and current.startswith("text_encoder.")
        )

    def _open(self, stage: Stage) -> None:
        if self._adopts(stage):
            stage.span, stage.adopted = self._parent, True
            return
        with tracing.under(self._span_of(stage.parent)):
            stage.span = tracing.open_span(stage.name, self._clock.at(stage.start))

    def _close(self, stage: Stage) -> None:
        self._keep(stage.start, stage.last)
        clock, span = self._clock, stage.span
        assert span is not None, "opened before"  # noqa: S101 - the queue's order
        nanoseconds = clock.between(stage.start, stage.last)
        attributes = dict(stage.attributes)
        if stage.name == "dit_inference":
            attributes |= self._common | {"model": self._model, "rushes.clock": clock.name}
            if "rushes.cache_hit_ratio" in attributes:
                instruments.rushes_cache_hit_ratio.set(
                    attributes["rushes.cache_hit_ratio"], model=self._model
                )
        if stage.name in _SECONDS:
            self._decoded(stage, attributes)
        span.set_attributes(attributes)
        if stage.error is not None:
            span.set_status(otel.StatusCode.ERROR, stage.error)
        if stage.parent is None:
            self.attributed_ns += nanoseconds
            self._totals.stage(self._model, stage.name, nanoseconds)
        if not stage.adopted:
            span.end(clock.at(stage.start) + nanoseconds)

    def _decoded(self, stage: Stage, attributes: dict[str, Any]) -> None:
        clock, span = self._clock, stage.span
        assert span is not None, "opened before"  # noqa: S101 - as above
        busy = sum(clock.between(start, end) for start, end in stage.busy)
        attributes["rushes.clock"] = clock.name
        if stage.name == "vae_decode":
            attributes["decode_time_ms"] = busy / 1e6
        sums: dict[str, list[int]] = {}
        for part, start, end in stage.parts:
            duration = clock.between(start, end)
            if part in sums:
                sums[part][1] += duration
                sums[part][2] += 1
            else:
                sums[part] = [clock.at(start), duration, 1]
        inner = sums.pop(DECODER, None)
        if inner is not None:
            attributes["rushes.decoder_calls"] = inner[2]
        for part, (begun, duration, calls) in sums.items():
            tracing.record(
                part,
                begun,
                begun + duration,
                {"rushes.aggregated": True, "rushes.executed": calls},
                parent=span,
            )
            self._totals.stage(self._model, part, duration)
        clock.release([mark for part in stage.parts for mark in part[1:]])
        for start, end in stage.busy:
            self._keep(start, end)
        if not stage.adopted:  # a service with its own span has its own measurement
            with tracing.under(span):
                _SECONDS[stage.name].record(busy / 1e9, model=self._model)

    # Steps

    def _step(self, step: Step) -> None:
        self._keep(step.start, step.end, *step.passes)
        clock = self._clock
        begun, total = clock.at(step.start), clock.between(step.start, step.end)
        sums, executed = Counter[str](), Counter[str]()
        for kind, start, end in step.parts or ():
            sums[kind] += clock.between(start, end)
            executed[kind] += 1
        if step.parts:
            clock.release([mark for part in step.parts for mark in part[1:]])
        total = max(total, sum(sums.values()))  # rounding of a GPU's half microseconds
        attributes = self._step_attributes(step, total)
        apart: dict[str, int] = {}
        if BLOCK in sums:
            attributes |= {"rushes.ns.block": sums[BLOCK], "rushes.executed.block": executed[BLOCK]}
        elif step.parts is not None:
            sums[OTHER] = total - sum(sums.values())
            apart = {kind: sums[kind] for kind in _KIND_ORDER if kind in sums}
            attributes |= {f"rushes.ns.{kind}": ns for kind, ns in apart.items()}
            attributes |= {f"rushes.executed.{kind}": executed[kind] for kind in apart if kind != OTHER}
        span = tracing.record(
            f"step_{step.index}", begun, begun + total, attributes, parent=self._span_of(step.parent)
        )
        self._children(span, begun, apart, executed)
        with tracing.under(span):
            _step_ms(total / 1e6, model=self._model, step_type="total")
            for kind, ns in apart.items():
                _step_ms(ns / 1e6, model=self._model, step_type=kind)
        self._totals.step(self._model, total, apart, first=step.index == 1)

    def _step_attributes(self, step: Step, total: int) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "step": step.index,
            "step_duration_ms": total / 1e6,
            "rushes.ns.total": total,
            "rushes.passes": len(step.passes) // 2,
            "rushes.clock": self._clock.name,
        }
        if step.index == 1:
            attributes["rushes.first_step"] = True
        if step.names:
            attributes["rushes.pass_names"] = step.names
        if len(step.passes) > 2:  # noqa: PLR2004 - one pass is the step itself
            ends = zip(step.passes[::2], step.passes[1::2], strict=False)
            attributes["rushes.pass_ms"] = [self._clock.between(start, end) / 1e6 for start, end in ends]
        if step.granularity != "module":
            attributes["rushes.granularity"] = step.granularity
        for kind, count in step.skipped.items():
            attributes[f"rushes.skipped.{kind}"] = count
        return attributes

    def _children(
        self, step: otel.Span, begun: int, apart: Mapping[str, int], executed: Mapping[str, int]
    ) -> None:
        """A span a kind, laid end to end: each is a sum over the step, whose parts interleave."""
        for kind, ns in apart.items():
            attributes: dict[str, bool | int] = {"rushes.aggregated": True}
            if kind != OTHER:
                attributes |= {"rushes.executed": executed[kind]}
            tracing.record(kind, begun, begun + ns, attributes, parent=step)
            begun += ns


def _gate(item: Open | Close | Leaf | Step) -> Any:
    match item:
        case Open(stage):
            return stage.start
        case Close(stage):
            return stage.last
        case _:
            return item.end


def drain_waiting() -> int:
    """Writes what calls have left unknown; returns how many calls still wait for their device."""
    for _ in range(len(_waiting)):
        try:
            writer = _waiting.popleft()
        except IndexError:
            break
        writer.drain()
        if not writer.done:
            _waiting.append(writer)
    return len(_waiting)
