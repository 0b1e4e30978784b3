"""A thread that is cancelled, or interrupted with Ctrl-C, in the midst of the instrumentation: at each of its lines."""

from __future__ import annotations

import linecache
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import rushes
from recording import Recorded
from rushes.instrument import Family, Rule, instrument, uninstrument
from rushes.instrument.wrapping import _attached
from tiny_pipelines import STEPS, Tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
OURS = {
    str(Path(rushes.__file__).parent / "instrument" / f"{name}.py")
    for name in ("call", "denoiser", "measured", "parallel", "wrapping")
}
# What runs because the call ends: to cancel a thread twice is not what is tested.
ENDING = {"finish", "release"}


class Cancelled(BaseException):
    """As KeyboardInterrupt: no Exception, and raised between any two lines."""


class Part(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    def forward(self, x: Any) -> Any:
        return x + 1


class Net(torch.nn.Module):  # type: ignore[misc]  # likewise
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.ff = Part(), Part()

    def forward(self, x: Any) -> Any:
        return self.ff(self.attn(x))


class Scheduler:
    def step(self, x: Any) -> Any:
        return x * 0.5


class Loop:
    def __init__(self) -> None:
        self.transformer, self.scheduler = Net(), Scheduler()

    def __call__(self, x: Any) -> Any:
        for _ in range(2):
            x = self.scheduler.step(self.transformer(x))
        return x


class Cancelling:
    """Runs something in a thread that is cancelled at the n-th line of ours."""

    def __init__(self, line: int) -> None:
        self._left = line
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        del event, arg
        at: FrameType | None = frame
        if frame.f_code.co_filename not in OURS:
            return None
        while at is not None:
            if at.f_code.co_filename in OURS and at.f_code.co_name in ENDING:
                return None
            at = at.f_back
        return self._line

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        del arg
        # The interpreter lets nobody in between a lock's taking and its block; a tracer would come between.
        if event == "line" and "with " not in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
            self._left -= 1
            if self._left == 0:
                raise Cancelled(f"{frame.f_code.co_qualname}, line {frame.f_lineno}")
        return self._line

    def run(self, pipe: Any, x: Any) -> str | None:
        """Where it was cancelled; None if it came to its end before."""

        def work() -> None:
            sys.settrace(self)
            try:
                self.result = pipe(x)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.error = error
            finally:
                sys.settrace(None)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if self.error is not None and not isinstance(self.error, Cancelled):
            raise self.error
        return str(self.error) if self.error else None


def test_cancelled_at_any_line(recorded: Recorded) -> None:
    pipe, x = Loop(), torch.ones(2)
    plain = pipe(x)
    rules = (Rule("attn", "joint_attn"), Rule("ff", "ffn"))
    instrument(pipe, sample_every=1, families=[Family(("Net",), rules, model="NET")])
    places = set()
    for line in range(1, 10_000):
        recorded.spans.clear()
        cancelling = Cancelling(line)
        at = cancelling.run(pipe, x)
        if at is None:
            assert torch.equal(cancelling.result, plain)
            break
        places.add(at)
        for module in pipe.transformer.modules():
            assert "forward" not in vars(module), at
        assert not vars(pipe.scheduler), at
        assert not _attached, at
        # Exporters see ended spans only, and a parent ends after its children: nothing is open.
        spans = recorded.spans.get_finished_spans()
        parents = {s.parent.span_id for s in spans if s.parent}
        assert parents <= {s.context.span_id for s in spans if s.context}, at
        assert [s.name for s in spans if s.parent is None] == ["video_generation_request"], at
    assert line > 150
    assert len(places) > 60
    recorded.spans.clear()
    assert torch.equal(pipe(x), plain)
    assert len([s for s in recorded.spans.get_finished_spans() if s.name.startswith("step_")]) == 2
    uninstrument(pipe)


def test_a_pipeline_that_is_interrupted_by_its_callback(tiny: Any, recorded: Recorded) -> None:
    """diffusers' own way: the loop goes on and does nothing more."""
    made: Tiny = tiny("mochi")

    def interrupt(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        del timestep
        pipe._interrupt = index == 0
        return tensors

    plain = made.run(callback_on_step_end=interrupt)
    instrument(made.pipe, sample_every=1)
    assert torch.equal(plain, made.run(callback_on_step_end=interrupt))
    uninstrument(made.pipe)
    names = [s.name for s in recorded.spans.get_finished_spans()]
    assert [name for name in names if name.startswith("step_")] == ["step_1"] != [f"step_{STEPS}"]
    assert "vae_decode" in names
    for module in made.pipe.transformer.modules():
        assert "forward" not in vars(module)
