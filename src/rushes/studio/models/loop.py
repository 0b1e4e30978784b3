"""A pipeline's denoising loop, watched from outside: told of step by step, saved after any step, taken up again.

Taking up works for every scheduler, with state or without: the pipeline is called as before, its first steps are
passed through without computing anything, and with the last of them the saved latents, the schedulers' state and
the generator's take their places. From there on every number is as it would have been.

A step begins at its first call of the transformer and ends at the pipeline's `callback_on_step_end`. Nothing stays
behind on the pipeline, whatever happens inside.
"""

from __future__ import annotations

import functools
import json
from types import MethodType
from typing import TYPE_CHECKING, Any, Self

from rushes.studio.models.errors import CheckpointError, UnsavableState
from rushes.studio.models.protocol import Checkpoint, StepEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rushes.studio.models.protocol import OnStep

_GENERATOR = "generator"


class Loop:
    """A context around one call of `pipe`; pass `generator` and its `on_step_end` to the call.

    Args:
        pipe: the pipeline.
        generator: the call's torch generator.
        on_step: told of each step that was computed.
        model: its name, for checkpoints.
        fingerprint: what decides about the video, for checkpoints.
        resume: where to take up.
        empty: what the transformer answers in steps that are passed through, given its arguments.
        monotonic_ns: a clock.

    Attributes:
        latents: the video's latents after the last step, as the pipeline holds them.

    Raises:
        CheckpointError: `resume` is of something else.
    """

    def __init__(
        self,
        pipe: Any,
        generator: Any,
        on_step: OnStep | None,
        *,
        model: str,
        fingerprint: str,
        resume: Checkpoint | None,
        empty: Callable[..., Any],
        monotonic_ns: Callable[[], int],
    ) -> None:
        if resume is not None and (resume.model, resume.fingerprint) != (model, fingerprint):
            raise CheckpointError(
                f"the checkpoint of step {resume.step} was made by {resume.model} for another video, from other "
                "weights or by another version; start from the beginning"
            )
        self.latents: Any = None
        self._pipe = pipe
        self._generator = generator
        self._on_step = on_step
        self._model = model
        self._fingerprint = fingerprint
        self._resume = resume
        self._empty = empty
        self._monotonic_ns = monotonic_ns
        self._step = 1
        self._started: int | None = None
        self._schedulers: list[Any] = []  # in the order of their first step: LTX2 has one more for the sound
        self._outputs: list[Any] = []  # what they answered in this step
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self._watch_scheduler(self._pipe.scheduler)
        self._watch_transformer(self._pipe.transformer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._undo:
            self._undo.pop()()

    def on_step_end(self, pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """The pipeline's `callback_on_step_end`."""
        self.latents = tensors.get("latents")
        total = int(pipe.num_timesteps)
        if self._resume is not None and self._resume.total != total:
            raise CheckpointError(f"the checkpoint is of {self._resume.total} steps, not of {total}")
        started, self._started = self._started, None
        if self._on_step is not None and started is not None:
            elapsed = self._monotonic_ns() - started
            self._on_step(StepEvent(index + 1, total, elapsed, lambda: self._checkpoint(index + 1, total)))
        self._outputs.clear()
        self._step = index + 2
        return tensors

    # In the pipeline's way

    def _watch_scheduler(self, scheduler: Any) -> None:
        """By its class, and for this one object only: LTX2 deep-copies its scheduler, and the copy is watched too."""
        cls, instead = type(scheduler), self._scheduler_step

        @functools.wraps(cls.step)
        def step(this: Any, *args: Any, **kwargs: Any) -> Any:
            return instead(this, MethodType(cls.step, this), *args, **kwargs)

        scheduler.__class__ = type(cls.__name__, (cls,), {"step": step, "__module__": cls.__module__})

        def undo() -> None:
            scheduler.__class__ = cls

        self._undo.append(undo)

    def _watch_transformer(self, transformer: Any) -> None:
        compute, replaced = transformer.forward, vars(transformer).get("forward")

        @functools.wraps(compute)
        def forward(*args: Any, **kwargs: Any) -> Any:
            return self._forward(compute, *args, **kwargs)

        def undo() -> None:
            if replaced is None:
                vars(transformer).pop("forward", None)
            else:
                transformer.forward = replaced

        transformer.forward = forward
        self._undo.append(undo)

    @property
    def _passing(self) -> bool:
        return self._resume is not None and self._step <= self._resume.step

    def _forward(self, compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._passing:
            return self._empty(*args, **kwargs)
        if self._started is None:  # else a further pass of the same step
            self._started = self._monotonic_ns()
        return compute(*args, **kwargs)

    def _scheduler_step(self, scheduler: Any, compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if all(scheduler is not known for known in self._schedulers):
            self._schedulers.append(scheduler)
        resume = self._resume
        if resume is not None and self._passing:
            if self._step < resume.step:
                return (kwargs["sample"] if "sample" in kwargs else args[2],)
            number = len(self._outputs)
            self._restore(resume, scheduler)
            restored = resume.tensors[f"output.{number}"].to(self._pipe._execution_device)  # noqa: SLF001
            self._outputs.append(restored)
            return (restored,)
        if scheduler.config.get("stochastic_sampling"):
            # Such a flow's pipeline hands on no generator: the noise would be the process's, whatever the seed.
            kwargs.setdefault("generator", self._generator)
        result = compute(*args, **kwargs)
        self._outputs.append(result[0])
        return result

    # State

    def _checkpoint(self, step: int, total: int) -> Checkpoint:
        tensors = {f"output.{number}": output for number, output in enumerate(self._outputs)}
        states = []
        for number, scheduler in enumerate(self._schedulers):
            states.append(
                {
                    name: _saved(f"scheduler.{number}.{name}", value, tensors)
                    for name, value in vars(scheduler).items()
                    if name not in {"_internal_dict", "step"}  # its configuration, and what is in place here
                }
            )
        tensors[_GENERATOR] = self._generator.get_state()
        copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        return Checkpoint(self._model, copied, step, total, self._fingerprint, json.dumps(states))

    def _restore(self, checkpoint: Checkpoint, scheduler: Any) -> None:
        number = next(n for n, known in enumerate(self._schedulers) if known is scheduler)
        state = json.loads(checkpoint.state)[number]
        vars(scheduler).update({name: _loaded(value, checkpoint.tensors) for name, value in state.items()})
        self._generator.set_state(checkpoint.tensors[_GENERATOR])


def _saved(name: str, value: Any, tensors: dict[str, Any]) -> Any:
    """A value as JSON; tensors go into `tensors` and are referred to, with the device that they lie on."""
    import torch

    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [_saved(f"{name}.{index}", item, tensors) for index, item in enumerate(value)]
        case torch.Tensor():
            tensors[name] = value
            return {"tensor": name, "device": str(value.device)}
    raise UnsavableState(f"a loop with {name} of type {type(value).__name__} can't be saved")


def _loaded(value: Any, tensors: Any) -> Any:
    if isinstance(value, list):
        return [_loaded(item, tensors) for item in value]
    return tensors[value["tensor"]].to(value["device"]) if isinstance(value, dict) else value
