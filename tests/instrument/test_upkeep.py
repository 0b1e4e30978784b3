"""What stays when thousands of calls have gone by: nothing. And the table that needs no backend."""

from __future__ import annotations

import contextlib
import gc
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from recording import Recorded
from rushes.instrument import (
    Family,
    Rule,
    RushesInstrumentor,
    instrument,
    is_instrumented,
    report,
    uninstrument,
)
from rushes.instrument.clock import HostClock
from rushes.instrument.denoiser import _plans
from rushes.instrument.wrapping import _attached
from tiny_pipelines import Tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class Block(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    def __init__(self) -> None:
        super().__init__()
        self.attn = torch.nn.Linear(2, 2)
        self.ff = torch.nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        return self.ff(self.attn(x))


class Net(torch.nn.Module):  # type: ignore[misc]  # likewise
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block() for _ in range(2))

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x


class Scheduler:
    def step(self, x: Any) -> Any:
        return x * 0.5


class Loop:
    """The least that is a pipeline: a network, a scheduler and a loop."""

    def __init__(self) -> None:
        self.transformer = Net()
        self.scheduler = Scheduler()

    def __call__(self, x: Any, *, fail: bool = False) -> Any:
        for _ in range(2):
            x = self.scheduler.step(self.transformer(x))
        if fail:
            raise RuntimeError("out of memory, say")
        return x


NET = Family(("Net",), (Rule("blocks.*.attn", "joint_attn"), Rule("blocks.*.ff", "ffn")), model="NET")


def test_thousands_of_calls_leave_nothing(recorded: Recorded) -> None:
    pipe = Loop()
    x = torch.ones(1, 2)
    with torch.no_grad():
        plain = pipe(x)
        instrument(pipe, sample_every=1, families=[NET])
        process = psutil.Process()
        sizes = []
        for index in range(2000):
            if index % 10 == 9:
                with pytest.raises(RuntimeError):
                    pipe(x, fail=True)
            else:
                assert torch.equal(pipe(x), plain)
            if index % 100 == 0:
                steps = [s for s in recorded.spans.get_finished_spans() if s.name == "step_2"]
                assert len(steps) == (100 if index else 1)
                recorded.spans.clear()  # the test's own memory
                gc.collect()
                sizes.append(process.memory_info().rss)
        uninstrument(pipe)
    assert sizes[-1] - sizes[len(sizes) // 2] < 4 << 20, "memory grows"
    assert not _attached
    for module in pipe.transformer.modules():
        assert "forward" not in vars(module)
    assert vars(pipe).keys() == {"transformer", "scheduler"}
    assert vars(pipe.scheduler) == {}
    network = pipe.transformer
    assert network in _plans
    del pipe, network, module
    gc.collect()
    assert not [net for net in _plans if isinstance(net, Net)]


def test_the_table(tiny: Callable[[str], Tiny], recorded: Recorded) -> None:
    assert report() == "rushes: nothing was measured; call an instrumented pipeline first"
    made = tiny("latte")
    instrument(made.pipe, model="TABLE", sample_every=1)
    made.run()
    uninstrument(made.pipe)
    lines = report().splitlines()
    assert lines[0] == "Where the time of TABLE went"
    labels = [line.split("  ")[0].strip() or line.strip().split("  ")[0] for line in lines[2:]]
    for label in ("prompt_processing", "dit_inference", "first step", "spatial_attn", "other", "vae_decode"):
        assert label in labels
    assert labels[-1] == "outside of stages"
    stages = ("prompt", "dit", "vae", "audio", "outside")
    shares = [line.split()[-1] for line in lines if line.startswith(stages)]
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(100, abs=0.3)
    kinds = [line.split()[-3] for line in lines if line.endswith("of step")]
    assert sum(float(share.rstrip("%")) for share in kinds) == pytest.approx(100, abs=0.3)


class Slow(Loop):
    """Does something of its own after the loop, thirty ticks of the clock long."""

    def __init__(self, tick: Callable[[], int]) -> None:
        super().__init__()
        self._tick = tick

    def __call__(self, x: Any, *, fail: bool = False) -> Any:
        x = super().__call__(x)
        for _ in range(30):
            self._tick()
        if fail:
            raise RuntimeError("in vain")
        return x


@pytest.mark.parametrize("fail", [False, True])
def test_the_table_tells_what_no_stage_accounts_for(
    *, fail: bool, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count(0, 1_000_000_000)
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(ticks))
    pipe = Slow(time.perf_counter_ns)
    instrument(pipe, clock=lambda: HostClock(time.perf_counter_ns), families=[NET])
    with pytest.raises(RuntimeError) if fail else contextlib.nullcontext():
        pipe(torch.ones(1, 2), fail=fail)
    uninstrument(pipe)
    label, seconds = report().splitlines()[-1].split("  ")[0], float(report().splitlines()[-1].split()[-3])
    assert label == "outside of stages"
    assert 30 <= seconds <= 36


SCRIPT = """
import sys
from rushes.instrument import RushesInstrumentor{before}
{auto}
assert "diffusers" not in sys.modules
import warnings; warnings.simplefilter("ignore")
from rushes.studio.models.offline import libraries
diffusers, _ = libraries()
pipe = diffusers.LattePipeline.from_pretrained({folder!r})
pipe.set_progress_bar_config(disable=True)
{line}
pipe("a cat", video_length=16, height=32, width=32, num_inference_steps=2, clean_caption=False)
"""


def _script(tmp_path: Path, text: str, **environment: str) -> str:
    import os

    script = tmp_path / "script.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
        timeout=100,
    )
    return done.stderr


def test_a_script_that_knows_nothing_of_it(checkpoints: Path, tmp_path: Path) -> None:
    from rushes.studio.models import small

    folder = str(small.build("OPENSORA", checkpoints))
    auto = SCRIPT.format(
        before="", auto="RushesInstrumentor().instrument(sample_every=1)", folder=folder, line=""
    )
    printed = _script(tmp_path, auto, RUSHES_REPORT="1")
    assert "Where the time of Latte went" in printed
    assert "temporal_attn" in printed


def test_automatic_instrumentation_can_be_ended(
    tiny: Callable[[str], Tiny], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import DiffusionPipeline

    monkeypatch.setenv("RUSHES_AUTO", "0")
    RushesInstrumentor().instrument()
    assert not is_instrumented(tiny("ltx").pipe)
    monkeypatch.delenv("RUSHES_AUTO")
    original = DiffusionPipeline.register_modules
    instrumentor = RushesInstrumentor()
    instrumentor.instrument(sample_every=1)
    instrumentor.instrument()
    made = tiny("ltx")
    assert is_instrumented(made.pipe)
    instrumentor.uninstrument()
    assert DiffusionPipeline.register_modules is original
    assert not is_instrumented(tiny("ltx").pipe)
    uninstrument(made.pipe)
