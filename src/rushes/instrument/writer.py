"""Turns marks into spans and metrics, in the order of the work, as soon as their times are known.

On a host they are known at once; on a GPU when it has got there. What is not known when a call returns waits here
and is written at the next opportunity: another call, a report, the end of the process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace as otel
from opentelemetry.context import Context

from rushes.instrument.measured import Close, Leaf, Open, Stage, Step
from rushes.instrument.steps import StepWriter
from rushes.instrument.totals import Totals
from rushes.instrument.vae_parts import DECODER
from rushes.sdk import instruments, tracing
from rushes.sdk.policy import is_strict

if TYPE_CHECKING:
    from rushes.instrument.clock import Clock

__all__ = ["Writer", "drain_waiting"]

_waiting: Final[deque[Writer]] = deque(maxlen=1024)
_SECONDS: Final[Mapping[str, Any]] = {
    "vae_decode": instruments.vae_decode_duration_seconds,
    "audio_generation": instruments.audio_generation_duration_seconds,
}


class Writer:
    """Writes one call's spans under `parent`, the span that was current when the call began.

    `whole` says that it is a pipeline's call, of which the stages are parts, and not a stage that is called alone.
    """

    def __init__(
        self,
        clock: Clock,
        parent: otel.Span,
        model: str,
        totals: Totals,
        common: Mapping[str, Any],
        *,
        whole: bool = False,
    ) -> None:
        self._begun_ns = time.perf_counter_ns() if whole else None
        self._taken_ns: int | None = None
        self.attributed_ns = 0
        self._clock = clock
        self._parent = parent
        self._parent_name = getattr(parent, "name", None)
        self._model = model
        self._totals = totals
        self._common = dict(common)
        self._steps = StepWriter(clock, model, totals)
        self._queue: deque[Open | Close | Leaf | Step] = deque()
        self.put = self._queue.append  # in the order of the work
        self._marks: set[Any] = set()
        self._finished = False
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        """Whether all is written."""
        return not self._queue

    def finish(self) -> None:
        """The call is over: what can be written is, the rest waits."""
        self._finished = True
        if self._begun_ns is not None:
            self._taken_ns = time.perf_counter_ns() - self._begun_ns
        self.drain()
        if self._queue:
            _waiting.append(self)

    def drain(self) -> None:
        """Writes what is known. Never waits for the device."""
        with self._lock:
            try:
                self._write_ready()
            except Exception:
                self._queue.clear()
                if is_strict():
                    raise
            if self._finished and not self._queue:
                self._clock.release(list(self._marks))
                self._marks.clear()
                taken, self._taken_ns = self._taken_ns, None
                if taken is not None:
                    self._totals.outside(self._model, max(0, taken - self.attributed_ns))

    def _write_ready(self) -> None:
        queue, ready = self._queue, self._clock.ready
        gpu = self._clock.name == "gpu"
        while queue:
            item = queue[0]
            if isinstance(item, Step):  # nearly all are, so they go first and straight
                if not ready(item.end):
                    return
                queue.popleft()
                if gpu:
                    self._marks.update((item.start, item.end, *item.passes))
                self._steps.write(item, item.parent.context or self._context_of(item.parent))
            else:
                if not ready(_gate(item)):
                    return
                queue.popleft()
                self._write(item)

    def _write(self, item: Open | Close | Leaf) -> None:
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

    def _keep(self, *marks: Any) -> None:
        if self._clock.name == "gpu":
            self._marks.update(marks)

    def _span_of(self, stage: Stage | None) -> otel.Span:
        return self._parent if stage is None or stage.span is None else stage.span

    def _context_of(self, stage: Stage) -> Context:
        if stage.context is None:
            stage.context = otel.set_span_in_context(self._span_of(stage))
        return stage.context

    def _record(self, name: str, start: Any, end: Any, attributes: dict[str, Any], parent: Stage) -> None:
        begun = self._clock.at(start)
        attributes = {"rushes.clock": self._clock.name, **attributes}
        if name.startswith("text_encoder."):
            attributes["model"] = self._model
        ended = begun + self._clock.between(start, end)
        tracing.record(name, begun, ended, attributes, context=self._context_of(parent))

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
        if stage.span is None:  # its thread was cancelled between the two
            self._open(stage)
        clock, span = self._clock, stage.span
        assert span is not None, "opened just now"  # noqa: S101 - for the type checker
        nanoseconds = clock.between(stage.start, stage.last)
        attributes = dict(stage.attributes)
        if stage.parent is None:
            attributes["rushes.clock"] = clock.name
        if stage.name == "dit_inference":
            attributes |= self._common | {"model": self._model}
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


def _gate(item: Open | Close | Leaf) -> Any:
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
