"""A pipeline's call as it goes: which stage, which step, which pass; kept as marks until the writer makes spans.

A step begins with the first pass through a denoiser after the scheduler's last step, and ends with the scheduler's
step: that holds for every loop, whether guidance takes one pass or three, and needs no callback of the caller's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from rushes.instrument.active import RESUMED
from rushes.instrument.denoiser import Denoiser, Watched
from rushes.instrument.measured import Close, Leaf, Open, Stage, Step
from rushes.sdk.policy import is_strict
from rushes.sdk.tracing import Stopped

if TYPE_CHECKING:
    from rushes.instrument.clock import Clock, Mark, Memory
    from rushes.instrument.writer import Writer

__all__ = ["Call"]

_PROMPT: Final = "prompt_processing"
_DIT: Final = "dit_inference"
_LOOP: Final = "denoising_loop"
_NOWHERE: Final = Stage(_LOOP, None, None)  # of steps that are not written
_DRAIN_AFTER_NS: Final = 1_000_000_000  # a killed process loses about this much


def _guarded(method: Callable[..., None]) -> Callable[..., None]:
    """Telemetry never raises into a user's program: a call whose bookkeeping fails is not measured further."""

    @functools.wraps(method)
    def safe(self: Call, *args: Any) -> None:
        if self.broken:
            return
        try:
            method(self, *args)
        except Exception:
            self._break()
            if is_strict():
                raise

    return safe


class Call:
    """The state of one call, in one thread.

    Attributes:
        mark: the clock's mark, here for the wrappers' sake.
        parts: where the wrappers of sub-modules put theirs; None while the step is not sampled.
        collectives: where the wrappers of collectives put theirs; None outside of steps, or without a process group.
        in_collective: whether one is under way, whose inner ones are part of it.
        pass_name: what the pipeline calls the pass that comes next (`cond`, `uncond`).
    """

    def __init__(
        self,
        clock: Clock,
        writer: Writer,
        *,
        sample_every: int,
        has_scheduler: bool,
        host_ns: Callable[[], int],
    ) -> None:
        self.mark = clock.mark
        self.parts: list[tuple[str, Mark, Mark]] | None = None
        self.collectives: list[tuple[Mark, Mark, bool]] | None = None
        self.in_collective = False
        self.pass_name: str | None = None
        self.broken = False
        self.resolution: str | None = None
        self.owner: object = None
        self._clock = clock
        self._writer = writer
        self._sample_every = sample_every
        self.has_scheduler = has_scheduler
        self._shared: dict[str, Any] | None = None
        self._host_ns = host_ns
        self._drained_ns = host_ns()
        self._stage: Stage | None = None
        self._memory: Memory | None = None  # as the stage that is approached begins
        self._loop: Stage | None = None
        self._step: Step | None = None
        self._stepped = False
        self._passed = RESUMED.get()  # steps of another process, which are passed through here
        self._steps = 0
        self._noise: list[tuple[str, Mark, Mark]] = []
        self._armed: Denoiser | None = None
        self._watching: dict[int, Denoiser] = {}
        self._counts: dict[Watched, list[int]] = {}
        self._asked = 0
        self._ran = 0

    # Stages

    def _enter(self, name: str, start: Mark) -> Stage:
        """The stage of this name, opened unless it is the one that is going on."""
        if self._stage is not None and self._stage.name == name:
            return self._stage
        self._leave()
        memory, self._memory = self._memory, None
        stage = self._stage = Stage(name, start, start, memory=memory or self._clock.memory(begins=True))
        self._writer.put(Open(stage))
        return stage

    @_guarded
    def approach(self, name: str) -> None:
        """A stage of this name is about to work, and is entered when it has: memory up to here is the one's before."""
        if self._stage is not None:
            if self._stage.name == name:
                return
            self._remember(self._stage)
        self._memory = self._clock.memory(begins=True)

    def _remember(self, stage: Stage) -> None:
        """Notes a stage's memory, once: at its last work that is known, else now."""
        before, stage.memory = stage.memory, None
        after = stage.memory_after or self._clock.memory()
        if before is None or after is None:
            return
        stage.attributes["rushes.memory.allocated_bytes"] = after[0]
        if after[1] > before[1] or before[1] == before[0]:  # else the process' peak is of an earlier stage
            stage.attributes["rushes.memory.peak_bytes"] = after[1]

    def _leave(self, error: str | None = None) -> None:
        stage, self._stage = self._stage, None
        if stage is None:
            return
        if stage.name == _DIT:
            self._close_step()
            self._disarm()
            stage.attributes |= self._shared or {}
            if self._asked:
                stage.attributes["rushes.cache_hit_ratio"] = (self._asked - self._ran) / self._asked
                self._asked = self._ran = 0
            self._steps = self._passed = 0
            if self._loop is not None:
                self._loop.last, self._loop.error = stage.last, error
                self._writer.put(Close(self._loop))
                self._loop = None
        stage.error = error
        self._remember(stage)
        if self.resolution and stage.name == _DIT:
            stage.attributes["resolution"] = self.resolution
        self._writer.put(Close(stage))

    @_guarded
    def prompt(self, start: Mark) -> None:
        """`encode_prompt` has ended. Without a text encoder's work in between there is no such stage."""
        if self._stage is not None and self._stage.name == _PROMPT:
            self._stage.last = self.mark()
            if self._stage.span is None:  # its beginning is not written yet
                self._stage.start = start

    @_guarded
    def prompt_continues(self) -> None:
        """What follows the text encoders and belongs to the prompt has ended."""
        if self._stage is not None and self._stage.name == _PROMPT:
            self._stage.last = self.mark()

    @_guarded
    def encoded(self, role: str, start: Mark) -> None:
        """A text encoder has ended."""
        end = self.mark()
        if self._stage is None or self._stage.name != _PROMPT:
            self._noise.clear()
        stage = self._enter(_PROMPT, start)
        stage.last, stage.memory_after = end, self._clock.memory()
        self._writer.put(Leaf(f"text_encoder.{role}", start, end, stage))

    @_guarded
    def noise(self, start: Mark) -> None:
        """Initial latents have been drawn."""
        self._noise.append(("noise.initialize", start, self.mark()))

    @_guarded
    def worked(
        self,
        name: str,
        start: Mark,
        end: Mark,
        parts: list[tuple[str, Mark, Mark]],
        attributes: dict[str, Any],
    ) -> None:
        """A call of a decoder has ended; its frames add up over the stage's calls."""
        stage = self._enter(name, start)
        stage.last, stage.memory_after = end, self._clock.memory()
        stage.busy.append((start, stage.last))
        stage.parts.extend(parts)
        for key, value in attributes.items():
            adds = key == "output_frames"
            stage.attributes[key] = stage.attributes.get(key, 0) + value if adds else value

    # Steps

    def shares(self, attributes: dict[str, Any]) -> None:
        """The denoiser is shared with other processes, and collectives are told from the rest of its work."""
        self._shared = attributes

    # These four run once a pass or a step, so they guard themselves: a wrapper would cost as much as they do.

    def pass_begins(self, denoiser: Denoiser) -> None:
        """The network is about to be called."""
        if self.broken:
            return
        try:
            start = self.mark()
            step = self._step
            if step is None or self._stepped:
                step = self._begin_step(denoiser, start)
            step.passes.append(start)
            if self.pass_name is not None:
                if step.names is None:
                    step.names = []
                step.names.append(self.pass_name)
                self.pass_name = None
        except Exception:
            self._break()
            if is_strict():
                raise

    def pass_ends(self) -> None:
        """The network has answered, or raised."""
        step = self._step
        if step is None or self.broken:
            return
        try:
            end = self.mark()
            step.passes.append(end)
            if not self.has_scheduler:  # then the network's own forward is the only boundary
                self._end_at(step, end)
        except Exception:
            self._break()
            if is_strict():
                raise

    def scheduler_stepped(self) -> None:
        """The scheduler has stepped; of several times between two passes, the last counts."""
        step = self._step
        if step is None or self.broken:
            return
        try:
            self._end_at(step, self.mark())
        except Exception:
            self._break()
            if is_strict():
                raise

    def note(self, name: str, start_ns: int, end_ns: int, attributes: dict[str, Any]) -> bool:
        """The caller has done something within the step, as in its callback; False where no step is under way."""
        step = self._step
        if step is None or self.broken:
            return False
        if step.notes is None:
            step.notes = []
        step.notes.append((name, start_ns, end_ns, attributes))
        return True

    def collective(self, start: Mark, *, is_wait: bool) -> None:
        """A collective of the process group, or the wait for one, has ended."""
        if self.collectives is None or self.broken:
            return
        try:
            self.collectives.append((start, self.mark(), is_wait))
        except Exception:
            self._break()
            if is_strict():
                raise

    def _break(self) -> None:
        self.broken = True
        self.parts = self.collectives = None

    def _end_at(self, step: Step, end: Mark) -> None:
        step.end = end
        self._stepped = True
        if self.collectives is not None:
            step.settled = len(self.collectives)
        if self._stage is not None and step.parent is not _NOWHERE:
            self._stage.last = end

    def _begin_step(self, denoiser: Denoiser, start: Mark) -> Step:
        self._close_step()
        if self._steps < self._passed:
            self._steps += 1
            step = self._step = Step(self._steps, start, _NOWHERE)
            self._stepped = False
            return step
        if self._loop is None:
            begin = self._noise[0][1] if self._noise else start
            stage = self._enter(_DIT, begin)
            stage.last = start
            for name, began, ended in self._noise:
                self._writer.put(Leaf(name, began, ended, stage))
            self._noise.clear()
            self._loop = Stage(_LOOP, start, start, parent=stage)
            self._writer.put(Open(self._loop))
        self._steps += 1
        step = self._step = Step(self._steps, start, self._loop, denoiser.granularity)
        step.first = self._steps == self._passed + 1
        self._stepped = False
        if self._shared is not None:
            self.collectives = step.collectives = []
        if denoiser.watched:
            self._watch(denoiser)
        every = self._sample_every
        # The first step is a warm-up, so the second is the first to be sampled.
        if every and denoiser.parts.patches and self._steps % every == 2 % every:
            if self._armed is not denoiser:
                self._disarm()
                self._armed = denoiser
                denoiser.parts.put(self)
            self.parts = step.parts = []
        elif self._armed is not None:
            self._disarm()
        return step

    def _disarm(self) -> None:
        if self._armed is not None:
            self._armed.parts.take_away(self)
            self._armed = None

    def _close_step(self) -> None:
        self.parts = self.collectives = None
        step, self._step = self._step, None
        if step is None or step.end is None or step.index <= self._passed:
            return  # none, or one that an exception ended, or one that was passed through
        if self._counts:
            self._skipped(step)
        self._writer.put(step)
        now = self._host_ns()
        if now - self._drained_ns > _DRAIN_AFTER_NS:
            self._writer.drain()
            self._drained_ns = self._host_ns()

    # Caches

    def _watch(self, denoiser: Denoiser) -> None:
        if id(denoiser) not in self._watching:
            self._watching[id(denoiser)] = denoiser
            self._counts.update({watched: [0, 0] for watched in denoiser.watched})
            denoiser.counting.put(self)

    def count(self, watched: Watched, place: int) -> None:
        """A cached module was asked (0), or computed (1)."""
        counts = self._counts.get(watched)
        if counts is not None:
            counts[place] += 1

    def _skipped(self, step: Step) -> None:
        for watched, counts in self._counts.items():
            asked, ran = counts
            counts[:] = 0, 0
            for kind, weight in watched.weights.items():
                self._asked += weight * asked
                self._ran += weight * ran
                if asked > ran:
                    if step.skipped is None:
                        step.skipped = {}
                    step.skipped[kind] = step.skipped.get(kind, 0) + weight * (asked - ran)

    # The end

    def finish(self, error: BaseException | None = None) -> None:
        """Nothing of this call stays in place or open, whatever ended it."""
        try:
            failed = error is not None and not isinstance(error, Stopped)
            self._leave(type(error).__name__ if failed else None)
        finally:
            self.parts = self.collectives = None
            self._disarm()
            for denoiser in self._watching.values():
                denoiser.counting.take_away(self)
            self._watching.clear()
            self._writer.finish()
