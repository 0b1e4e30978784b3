"""Tells a caller of `denoise` of each step as it ends, and lets it stop the loop; spans are `rushes.instrument`'s.

A step begins at its first call of the transformer and ends at the pipeline's `callback_on_step_end`. Nothing stays
behind on the pipeline, whatever happens inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rushes.studio.models.protocol import StepEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rushes.studio.models.protocol import OnStep


class StepWatch:
    """A context around one call of `pipe`; pass its `on_step_end` to the call.

    `latents` is the video's latents after the last step, as the pipeline holds them.
    """

    def __init__(self, pipe: Any, on_step: OnStep | None, monotonic_ns: Callable[[], int]) -> None:
        self.latents: Any = None
        self._pipe = pipe
        self._on_step = on_step
        self._monotonic_ns = monotonic_ns
        self._hook: Any = None
        self._started: int | None = None

    def __enter__(self) -> Self:
        self._hook = self._pipe.transformer.register_forward_pre_hook(self._transformer_called)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()

    def on_step_end(self, pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """The pipeline's `callback_on_step_end`."""
        self.latents = tensors.get("latents")
        started, self._started = self._started, None
        if self._on_step is not None and started is not None:
            elapsed = self._monotonic_ns() - started
            self._on_step(StepEvent(index + 1, int(pipe.num_timesteps), elapsed))
        return tensors

    def _transformer_called(self, _module: Any, _inputs: Any) -> None:
        if self._started is None:  # else a further pass of the same step
            self._started = self._monotonic_ns()
