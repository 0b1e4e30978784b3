"""A loop that is taken up in another process makes the very same video; anything else says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from recording import Recorded
from rushes.studio import models
from rushes.studio.models import small
from rushes.studio.models.base import DiffusersBackend

PROMPT = "a red cube"
SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
)
STOCHASTIC = "FlowMatchEulerDiscreteScheduler"  # with new noise at each step


def _backend(name: str, root: Path, scheduler: str | None = None) -> DiffusersBackend:
    made = models.backend(name, small.path(name, root))
    made.load("all")
    if scheduler is not None:
        pipe = made.pipeline("generate")
        noisy = {"stochastic_sampling": True} if scheduler == STOCHASTIC else {}
        pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config, **noisy)
    return made


class Keeper:
    """Saves a checkpoint after each step."""

    def __init__(self, folder: Path) -> None:
        self.steps: list[int] = []
        self._folder = folder

    def __call__(self, event: models.StepEvent) -> None:
        self.steps.append(event.index)
        event.checkpoint().save(self.path(event.index))

    def path(self, step: int) -> Path:
        return self._folder / f"{step}.safetensors"

    def after(self, step: int) -> models.Checkpoint:
        return models.Checkpoint.load(self.path(step))


class Told:
    """Notes the steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def __call__(self, event: models.StepEvent) -> None:
        self.steps.append(event.index)


def _same(one: models.Latents, other: models.Latents) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        *((name, scheduler) for name in ("MOCHI1", "LTX2") for scheduler in (None, STOCHASTIC)),
        *(("OPENSORA", scheduler) for scheduler in (None, *SCHEDULERS)),
    ],
)
def test_a_loop_goes_on_from_any_step_to_the_same_video(
    name: str, scheduler: str | None, checkpoints: Path, tmp_path: Path, recorded: Recorded
) -> None:
    first = _backend(name, checkpoints, scheduler)
    request = first.card.request(seed=5, steps=4)
    encoded = first.encode(PROMPT)
    undisturbed = first.denoise(encoded, request)
    keeper = Keeper(tmp_path)
    assert _same(undisturbed, first.denoise(encoded, request, keeper)), "saving changes nothing"
    for step in (1, len(keeper.steps) - 1, len(keeper.steps)):
        second = _backend(name, checkpoints, scheduler)
        second.instrument(sample_every=1)
        recorded.spans.clear()
        told = Told()
        resumed = second.denoise(encoded, request, told, resume=keeper.after(step))
        assert _same(undisturbed, resumed)
        assert told.steps == keeper.steps[step:]
        written = [span for span in recorded.spans.get_finished_spans() if span.name.startswith("step_")]
        assert [span.name for span in written] == [f"step_{index}" for index in told.steps]
        assert [bool((span.attributes or {}).get("rushes.first_step")) for span in written[:2]] == [
            True,
            False,
        ][: len(written)]


def test_a_resumed_loop_can_be_saved_and_resumed_again(checkpoints: Path, tmp_path: Path) -> None:
    made = _backend("LTX2", checkpoints)
    request = made.card.request(seed=6, steps=5)
    encoded = made.encode(PROMPT)
    keeper, again = Keeper(tmp_path), Keeper(tmp_path / "again")
    (tmp_path / "again").mkdir()
    undisturbed = made.denoise(encoded, request, keeper)
    made.denoise(encoded, request, again, resume=keeper.after(2))
    assert _same(undisturbed, made.denoise(encoded, request, resume=again.after(3)))
    assert made.pipeline("generate").scheduler.__class__ is diffusers.FlowMatchEulerDiscreteScheduler
    assert "forward" not in vars(made.pipeline("generate").transformer)


@pytest.mark.parametrize("change", ["seed", "steps", "prompt", "weights", "model"])
def test_a_checkpoint_of_another_video_is_refused(change: str, checkpoints: Path, tmp_path: Path) -> None:
    made = _backend("OPENSORA", checkpoints)
    request = made.card.request(seed=5, steps=4)
    encoded = made.encode(PROMPT)
    keeper = Keeper(tmp_path)
    made.denoise(encoded, request, keeper)
    kept = keeper.after(2)
    match change:
        case "seed" | "steps":
            changed: dict[str, Any] = {change: 3}
            request = dataclasses.replace(request, **changed)
        case "prompt":
            encoded = made.encode("a blue cube")
        case "weights":
            kept = dataclasses.replace(kept, fingerprint="0" * 64)
        case _:
            kept = dataclasses.replace(kept, model="MOCHI1")
    with pytest.raises(models.CheckpointError, match="start from the beginning"):
        made.denoise(encoded, request, resume=kept)


def test_a_damaged_checkpoint_is_refused(checkpoints: Path, tmp_path: Path) -> None:
    made = _backend("MOCHI1", checkpoints)
    keeper = Keeper(tmp_path)
    made.denoise(made.encode(PROMPT), made.card.request(seed=5, steps=2), keeper)
    data = bytearray(keeper.path(1).read_bytes())
    data[-1] ^= 1
    keeper.path(1).write_bytes(data)
    with pytest.raises(models.CheckpointError, match="checksum does not match"):
        keeper.after(1)
    with pytest.raises(models.CheckpointError, match="not checkpoint version"):
        _renamed(keeper.path(2), tmp_path)


def _renamed(path: Path, folder: Path) -> Any:
    """What another version would have written."""
    from rushes.studio.models.tensorfile import read_tensors, write_tensors

    tensors, metadata = read_tensors(path)
    write_tensors(folder / "newer", tensors, metadata | {"version": "99"})
    return models.Checkpoint.load(folder / "newer")
