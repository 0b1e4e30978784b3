"""The GPU's clock with events that happen when the test says so: read later, pooled, never waited for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from recording import Recorded
from rushes.instrument import call, instrument, report, session, uninstrument
from rushes.instrument.clock import EventPool, GpuClock, HostClock
from rushes.instrument.writer import drain_waiting
from tiny_pipelines import STEPS, Tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class Device:
    """A GPU's stream: each recorded event happens a millisecond after the one before, once `done` is set."""

    def __init__(self) -> None:
        self.done = False
        self.made = 0
        self._times = itertools.count()
        self.allocated, self.peak = 100, 200
        self.resets = 0
        self.highest: int | None = None  # torch's mark of it, where a test leaves that to torch

    def event(self) -> Event:
        self.made += 1
        return Event(self)

    def now(self) -> int:
        return next(self._times)

    def current_stream(self, device: int) -> str:
        return f"stream of {device}"

    def memory_allocated(self, device: int) -> int:
        assert device == 1
        return self.allocated

    def max_memory_allocated(self, device: int) -> int:
        if self.highest is not None:
            return self.highest
        self.peak += 1  # each stage sets a new peak
        return self.peak

    def reset_peak_memory_stats(self, device: int) -> None:
        assert device == 1
        self.resets += 1
        self.highest = self.allocated


class Event:
    def __init__(self, device: Device) -> None:
        self._device = device
        self._ms: int | None = None

    def record(self, stream: str) -> None:
        assert stream == "stream of 1"
        self._ms = self._device.now()

    def query(self) -> bool:
        return self._device.done

    def elapsed_time(self, end: Event) -> float:
        assert self._device.done, "an event was read before it had happened"
        assert self._ms is not None
        assert end._ms is not None
        return float(end._ms - self._ms)

    def synchronize(self) -> None:
        raise AssertionError("never")


def _clock(device: Device, pool: EventPool) -> Callable[[], GpuClock]:
    return lambda: GpuClock(pool, device, 1, wall_ns=lambda: 1_000_000_000_000_000_000)


def test_times_are_the_devices_and_come_later(tiny: Callable[[str], Tiny], recorded: Recorded) -> None:
    made = tiny("wan")
    device = Device()
    pool = EventPool(device.event)
    instrument(made.pipe, model="GPU", sample_every=1, clock=_clock(device, pool))
    made.run()
    names = [s.name for s in recorded.spans.get_finished_spans()]
    assert names == ["video_generation_request"], "the device has not got there: nothing is known"
    assert drain_waiting() == 1

    device.done = True
    assert drain_waiting() == 0
    # A pass's start, each module's start and end, the pass's end: one event each, a millisecond apart.
    found: Any = recorded.span("step_2").attributes
    modules = sum(made.executed.values())
    assert found["rushes.clock"] == "gpu"
    assert {k: found[f"rushes.ns.{k}"] for k in made.executed} == {
        k: n * 1_000_000 for k, n in made.executed.items()
    }
    # Two passes of two events, then the scheduler's end; the step's start is the first pass's.
    assert found["rushes.ns.total"] == (2 * modules + 2 * 2) * 1_000_000
    assert sum(found[f"rushes.ns.{k}"] for k in (*made.executed, "other")) == found["rushes.ns.total"]
    step = recorded.span("step_2")
    assert step.start_time is not None
    assert step.start_time > 1_000_000_000_000_000_000
    stage: Any = recorded.span("vae_decode").attributes
    assert stage["rushes.memory.allocated_bytes"] == 100
    assert stage["rushes.memory.peak_bytes"] > 200
    assert "GPU" in report()
    uninstrument(made.pipe)


def test_events_are_used_again(
    tiny: Callable[[str], Tiny], recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow machine would write some steps before the call's end, and use their events again within the call.
    monkeypatch.setattr(call, "_DRAIN_AFTER_NS", 10**18)
    made = tiny("ltx")
    device = Device()
    device.done = True
    pool = EventPool(device.event)
    instrument(made.pipe, sample_every=1, clock=_clock(device, pool))
    made.run()
    first = device.made
    for _ in range(4):
        made.run()
    uninstrument(made.pipe)
    assert len([s for s in recorded.spans.get_finished_spans() if s.name.startswith("step_")]) == 5 * STEPS
    # Each call keeps its anchor, and one mark that became no span: no text encoder ran.
    assert device.made - first == 4 * 2
    assert len(pool) <= first


STAGES = ("prompt_processing", "dit_inference", "vae_decode")


class _Needing:
    """A stage's work: so many bytes at most."""

    def __init__(self, device: Device, needs: int) -> None:
        self._device, self._needs = device, needs

    def __call__(self, sample: Any) -> Any:
        assert self._device.highest is not None
        self._device.highest = max(self._device.highest, self._device.allocated + self._needs)
        return sample


class _OnCuda:
    """A pipeline that says it is on a GPU; its decoder needs the most memory, and more is needed after it."""

    def __init__(self, device: Device) -> None:
        self._execution_device = torch.device("cuda", 1)
        self.transformer, self.vae, self.scheduler = torch.nn.Identity(), torch.nn.Module(), self
        self.vae.decode = _Needing(device, 900)
        self.text_encoder = torch.nn.Identity()
        self.text_encoder.forward = _Needing(device, 50)
        self.step, self.finish = _Needing(device, 300), _Needing(device, 5000)

    def __call__(self, sample: Any) -> Any:
        sample = self.text_encoder(sample)
        for _ in range(2):
            sample = self.step(self.transformer(sample))
        return self.finish(self.vae.decode(sample))


@pytest.mark.parametrize(
    ("own", "told"), [(False, [150, 400, 1000, None, None, None]), (True, [150, 400, 1000] * 2)]
)
def test_a_pipeline_on_cuda_is_timed_by_events_and_its_memory_is_told(
    *, own: bool, told: list[int | None], recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's mark only grows: a stage's peak below it is unknown, unless the mark may begin anew with each stage."""
    device = Device()
    device.done, device.highest = True, 100
    for name in ("current_stream", "memory_allocated", "max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, getattr(device, name))
    monkeypatch.setattr(
        torch.cuda, "Event", lambda *, enable_timing: device.event() if enable_timing else None
    )
    monkeypatch.setattr(session, "_pools", {})
    pipe = _OnCuda(device)
    instrument(pipe, model="CUDA", memory_peaks=own)
    for _ in range(2):
        assert torch.equal(pipe(torch.ones(1)), torch.ones(1))
    uninstrument(pipe)
    stages = [s for s in recorded.spans.get_finished_spans() if s.name in STAGES]
    found: list[Any] = [s.attributes for s in stages]
    assert {attributes["rushes.clock"] for attributes in found} == {"gpu"}
    assert [attributes.get("rushes.memory.peak_bytes") for attributes in found] == told
    assert device.resets == (6 if own else 0)


def test_the_hosts_clock_is_tied_to_the_epoch() -> None:
    ticks = iter([1000, 1500, 4000])
    clock = HostClock(mark=lambda: next(ticks), wall_ns=lambda: 10**18)
    start, end = clock.mark(), clock.mark()
    assert clock.between(start, end) == 2500
    assert clock.at(start) == 10**18 + 500
    assert clock.ready(end)
    assert clock.memory() is None
