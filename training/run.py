"""What all trainings share: steps that can be resumed, a progress line, a curve, averaged weights.

A run is a function of its seed and its step counter alone: what is drawn in step n comes from a generator seeded
with n, so that a training that was stopped and taken up again goes on as if nothing had happened (up to the order
in which threads add floating-point numbers).
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed as dist
from torch import multiprocessing, nn

SAVE_SECONDS = 120.0
SEED = 20_260
COMPILE = os.environ.get("TRAINING_COMPILE", "1") == "1"  # needs a C++ compiler; a third faster


def step_rng(stage: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """The generators of one step of one stage."""
    numpy_rng = np.random.default_rng([SEED, stage, step, rank()])
    return numpy_rng, torch.Generator().manual_seed(int(numpy_rng.integers(2**62)))


class Average:
    """An exponential moving average of a module's weights (its half-life grows with the run, up to `decay`)."""

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.shadow = {name: one.detach().clone() for name, one in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take the weights after `step` in."""
        decay = min(self.decay, (1 + step) / (10 + step))
        names, now = zip(*module.named_parameters(), strict=True)
        torch._foreach_lerp_([self.shadow[name] for name in names], list(now), 1 - decay)

    @torch.no_grad()
    def write(self, module: nn.Module) -> None:
        """Put the averaged weights into the module."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.shadow[name])


def optimizers(modules: Iterable[nn.Module], rate: float, *, muon: bool) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices of transformer blocks if asked for."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            inner = muon and parameter.ndim == 2 and "block" in name and "embed" not in name
            (matrices if inner else rest).append(parameter)
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ]
    if matrices:
        made.append(
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw", ns_steps=4)
        )
    return made


@dataclass
class Training:
    """One stage: `loss_of` a step gives the loss and figures to log; `modules` are trained for `steps`.

    Where `folder` holds an earlier state of the stage `name` it goes on from there.
    """

    name: str
    folder: Path
    modules: dict[str, nn.Module]
    loss_of: Callable[[int], tuple[torch.Tensor, dict[str, float]]]
    steps: int
    rate: float
    muon: bool = False
    decay: float = 0.999
    warmup: int = 100
    clip: float = 1.0
    step: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state_file = self.folder / f"{self.name}.state.pt"
        self.log_file = self.folder / f"{self.name}.csv"
        self.group = nn.ModuleDict(self.modules)
        self.tuners = optimizers(self.group.values(), self.rate, muon=self.muon)
        self.average = Average(self.group, self.decay)
        self.sums: dict[str, float] = {}
        self.counted = 0
        if self.state_file.exists():
            state = torch.load(self.state_file, weights_only=True)
            self.group.load_state_dict(state["weights"])
            self.average.shadow = state["average"]
            for tuner, saved in zip(self.tuners, state["tuners"], strict=True):
                tuner.load_state_dict(saved)
            self.step, self.seconds = state["step"], state["seconds"]

    def run(self) -> None:
        """Train to the end; afterwards the averaged weights are in the modules."""
        began = saved = time.monotonic()
        before = self.seconds
        while self.step < self.steps:
            self._learn()
            self.step += 1
            now = time.monotonic()
            self.seconds = before + now - began
            ended = self.step == self.steps
            if rank() == 0 and self.counted and (self.step % 50 == 0 or ended):
                self._report()
            if rank() == 0 and (now - saved > SAVE_SECONDS or ended):
                saved = now
                self._save()
        self.average.write(self.group)

    def _learn(self) -> None:
        rate = self.rate * min(1.0, (self.step + 1) / self.warmup) * _cooled(self.step / self.steps)
        loss, figures = self.loss_of(self.step)
        for tuner in self.tuners:
            tuner.zero_grad(set_to_none=True)
            for one in tuner.param_groups:
                one["lr"] = rate
        loss.backward()
        if dist.is_initialized():
            share_gradients(self.group, dist.get_world_size())
        norm = float(nn.utils.clip_grad_norm_(self.group.parameters(), self.clip))
        if not math.isfinite(norm):
            print(f"{self.name} {self.step}: the gradient is not finite, the step is left out", flush=True)
            return
        for tuner in self.tuners:
            tuner.step()
        self.average.update(self.group, self.step)
        self.counted += 1
        for key, value in ({"loss": float(loss.detach()), "norm": norm} | figures).items():
            self.sums[key] = self.sums.get(key, 0.0) + value

    def _report(self) -> None:
        means = {key: value / self.counted for key, value in self.sums.items()}
        _log(self.log_file, self.step, self.seconds, means)
        left = self.seconds / self.step * (self.steps - self.step)
        shown = " ".join(f"{key} {value:.4f}" for key, value in means.items())
        print(
            f"{self.name} {self.step}/{self.steps} {shown} {self.seconds:.0f} s, {left:.0f} s left",
            flush=True,
        )
        self.sums, self.counted = {}, 0

    def _save(self) -> None:
        state = {
            "weights": self.group.state_dict(),
            "average": self.average.shadow,
            "tuners": [tuner.state_dict() for tuner in self.tuners],
            "step": self.step,
            "seconds": self.seconds,
        }
        write(self.state_file, state)
        plot(self.log_file, self.log_file.with_suffix(".png"))


def half() -> torch.autocast:
    """Computes with bfloat16 where the processor can; without such instructions it would take fifty times as long."""
    able = torch.cpu.get_capabilities()
    return torch.autocast(
        "cpu", torch.bfloat16, enabled=bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    )


def share_gradients(module: nn.Module, workers: int) -> None:
    """Give every process the mean of all processes' gradients."""
    gradients = [one.grad for one in module.parameters() if one.grad is not None]
    flat = torch.cat([one.flatten() for one in gradients])
    dist.all_reduce(flat)
    flat /= workers
    parts = flat.split([one.numel() for one in gradients])
    torch._foreach_copy_(gradients, [part.view_as(one) for part, one in zip(parts, gradients, strict=True)])


def together(processes: int, task: Callable[..., None], *arguments: Any) -> None:
    """Run `task` in so many processes of one thread each, which share their gradients.

    On a CPU two processes of one thread do twice as much as one of two threads, and lose less when it is busy.
    """
    if processes == 1:
        torch.set_num_threads(1)
        task(*arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_joined, (processes, f"file://{folder}/meeting", task, arguments), processes)


def _joined(
    rank: int, processes: int, meeting: str, task: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=processes, timeout=dt.timedelta(hours=4)
    )
    try:
        task(*arguments)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def arguments(description: str | None) -> argparse.Namespace:
    """The command line of every training."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", required=True, type=Path, help="state, curves and the checkpoint go here")
    parser.add_argument("--processes", type=int, default=2, help="which share the work; part of the result")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    return given


def facts(steps: dict[str, int]) -> dict[str, Any]:
    """What a manifest says of a training."""
    processes = dist.get_world_size() if dist.is_initialized() else 1
    return {"seed": SEED, "steps": steps, "processes": processes, "torch": torch.__version__}


def rank() -> int:
    """Which of the processes this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def _cooled(done: float) -> float:
    """Constant, then a cosine to almost nothing over the second half."""
    return 1.0 if done < 0.5 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - 0.5) * 2))


def write(file: Path, state: Any) -> None:
    """Save so that the file is either the old or the new one, whole."""
    partial = file.with_name(f".{file.name}.partial")
    torch.save(state, partial)
    partial.replace(file)


def _log(file: Path, step: int, seconds: float, values: dict[str, float]) -> None:
    new = not file.exists()
    with file.open("a", newline="") as handle:
        writer = csv.writer(handle)
        if new:
            writer.writerow(["step", "seconds", *values])
        writer.writerow([step, f"{seconds:.1f}", *(f"{value:.6f}" for value in values.values())])


def plot(log_file: Path, picture: Path) -> None:
    """Draw the loss over the steps, on a logarithmic scale."""
    from PIL import Image, ImageDraw

    if not log_file.exists():
        return
    with log_file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    points = [(int(row["step"]), math.log10(max(1e-9, float(row["loss"])))) for row in rows]
    if len(points) < 2:  # no line yet
        return
    width, height, margin = 720, 320, 50
    low, high = min(y for _, y in points), max(y for _, y in points)
    low, high = math.floor(low * 10) / 10, math.ceil(high * 10) / 10 + 0.01
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)

    def place(step: float, y: float) -> tuple[float, float]:
        return (
            margin + (width - 2 * margin) * step / points[-1][0],
            height - margin - (height - 2 * margin) * (y - low) / (high - low),
        )

    for part in range(5):
        y = low + (high - low) * part / 4
        draw.line([place(0, y), place(points[-1][0], y)], fill="#dddddd")
        draw.text((4, place(0, y)[1] - 6), f"{10**y:.3g}", fill="black")
        step = points[-1][0] * part / 4
        draw.text((place(step, low)[0] - 12, height - margin + 8), f"{step:.0f}", fill="black")
    draw.line([place(*point) for point in points], fill="#1f5fbf", width=2)
    draw.text((margin, 12), f"{log_file.stem}: loss over steps", fill="black")
    image.save(picture)
