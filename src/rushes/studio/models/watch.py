"""Watches a pipeline's call from outside: when the noise was drawn, when each step began and ended.

A step begins at its first call of the transformer and ends at the pipeline's `callback_on_step_end`. Nothing stays
behind on the pipeline, whatever happens inside.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

from rushes.studio.models.protocol import StepEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from rushes.studio.models.protocol import Observer


class StepWatch:
    """A context around one call of `pipe`; pass its `on_step_end` to the call.

    `noise_methods` are the pipeline's methods that draw the initial noise, in the order it calls them.
    `latents` is the video's latents after the last step, as the pipeline holds them.
    """

    def __init__(
        self, pipe: Any, observer: Observer | None, noise_methods: Sequence[str], now_ns: Callable[[], int]
    ) -> None:
        self.latents: Any = None
        self._pipe = pipe
        self._observer = observer
        self._noise_methods = noise_methods
        self._now_ns = now_ns
        self._undo: list[Callable[[], object]] = []
        self._noise_started: int | None = None
        self._step_started: int | None = None
        self._looping = False

    def __enter__(self) -> Self:
        for name in self._noise_methods:
            self._wrap(name)
        hook = self._pipe.transformer.register_forward_pre_hook(self._transformer_called)
        self._undo.append(hook.remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._undo:
            self._undo.pop()()

    def on_step_end(self, pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """The pipeline's `callback_on_step_end`."""
        ended = self._now_ns()
        self.latents = tensors.get("latents")
        started, self._step_started = self._step_started, None
        if self._observer is not None and started is not None:
            self._observer.step(StepEvent(index + 1, int(pipe.num_timesteps), started, ended))
        return tensors

    def _wrap(self, name: str) -> None:
        method = getattr(self._pipe, name)
        replaced = vars(self._pipe).get(name)  # someone else's instrumentation, to be put back

        @functools.wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._noise_started is None:
                self._noise_started = self._now_ns()
            result = method(*args, **kwargs)
            if name == self._noise_methods[-1] and self._observer is not None:
                self._observer.noise_initialized(self._noise_started, self._now_ns())
            return result

        def undo() -> None:
            if replaced is None:
                vars(self._pipe).pop(name, None)
            else:
                setattr(self._pipe, name, replaced)

        setattr(self._pipe, name, timed)
        self._undo.append(undo)

    def _transformer_called(self, _module: Any, _inputs: Any) -> None:
        if self._step_started is not None:  # a further pass of the same step
            return
        self._step_started = self._now_ns()
        if not self._looping:
            self._looping = True
            if self._observer is not None:
                self._observer.loop_started(self._step_started)
