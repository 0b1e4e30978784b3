"""A network that two processes share, on gloo: the place of each, the collectives' time, and the same bits."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional

from recording import Recorded
from rushes.instrument import Family, instrument, session, uninstrument
from rushes.instrument.active import ACTIVE
from rushes.instrument.clock import HostClock
from rushes.instrument.parallel import attach_collectives, is_shared, parallelism
from rushes.instrument.wrapping import Attachment, release

SIZE = 2
HERE = Path(__file__).parent
# Tensor: one reduction after each attention and each feed-forward, of 4 + 4 + 4 + 8. Context: queries, keys, values
# and the answer of each self-attention change hands, 3 blocks in 2 passes; each pass' output is gathered.
COLLECTIVES = {"tensor": 20, "context": 2 * (3 * 4 + 1)}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("shared")
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE.parent),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    ranks = [
        subprocess.Popen(
            [
                sys.executable,
                "-Wignore",
                str(HERE / "shared_network.py"),
                str(rank),
                str(SIZE),
                str(folder / "store"),
                str(folder),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(SIZE)
    ]
    try:
        said = [rank.communicate(timeout=240) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0] * SIZE, said
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


@pytest.mark.parametrize("how", COLLECTIVES)
def test_a_shared_network(how: str, reports: list[dict[str, Any]]) -> None:
    for rank, report in enumerate(reports):
        seen = report[how]
        assert seen["equal"], "instrumented, a bit is another"
        assert seen["error"] < 1e-4, "the test's own sharing is wrong"
        assert seen["restored"]
        place = {k.removeprefix("rushes.parallel."): v for k, v in seen["loop"].items() if "parallel" in k}
        assert place == {"mode": how, "rank": rank, "degree": SIZE}
        waited = 0
        for step in seen["steps"]:
            assert step["rushes.parallel.collectives"] == COLLECTIVES[how]
            assert 0 < step["rushes.parallel.comm_ns"] < step["rushes.ns.total"]
            waited += step["rushes.parallel.comm_ns"]
        sampled = seen["steps"][1]
        parts = [v for k, v in sampled.items() if k.startswith("rushes.ns.") and k != "rushes.ns.total"]
        assert sum(parts) == sampled["rushes.ns.total"]
        assert seen["metric"]["count"] == len(seen["steps"])
        assert seen["metric"]["sum"] == pytest.approx(waited / 1e6)


def test_a_process_alone_shares_nothing() -> None:
    assert not is_shared()
    assert parallelism(torch.nn.Linear(2, 2)) is None


def test_collectives_are_themselves_again() -> None:
    names = {(module, name) for module in (dist, functional) for name in vars(module) if "all_" in name}
    before = {(module, name): getattr(module, name) for module, name in names}
    attached: list[Attachment] = []
    attach_collectives(attached)
    assert dist.all_reduce is not before[dist, "all_reduce"]
    assert functional.all_to_all_single is not before[functional, "all_to_all_single"]
    assert ACTIVE.get() is None
    with pytest.raises(ValueError, match="process group has not been initialized"):
        dist.all_reduce(torch.zeros(1))  # outside a call it is the original
    release(attached)
    assert {key: getattr(*key) for key in names} == before


class Shared(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """Reduces, starts a gathering in the background, and waits for it."""

    def forward(self, x: Any) -> Any:
        dist.all_reduce(x)
        functional.all_gather_tensor(x)
        return functional.wait_tensor(x)


class Loop:
    def __init__(self) -> None:
        self.transformer, self.scheduler = Shared(), self

    def step(self, x: Any) -> Any:
        return x

    def __call__(self, x: Any) -> Any:
        for _ in range(2):
            x = self.scheduler.step(self.transformer(x))
            dist.broadcast(x)  # after the step's end: not the step's
        return x


def test_a_collectives_time_is_told_from_the_rest(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock is a millisecond after the one before; an inner collective is part of the outer."""
    monkeypatch.setattr(session, "is_shared", lambda: True)
    monkeypatch.setattr(dist, "broadcast", lambda x: x)
    monkeypatch.setattr(dist, "all_reduce", lambda x: (dist.broadcast(x),))
    for name in ("all_gather_tensor", "wait_tensor"):
        monkeypatch.setattr(functional, name, lambda x: x)
    ticks = itertools.count(0, 1_000_000)
    pipe, x = Loop(), torch.ones(1)
    clock = lambda: HostClock(mark=lambda: next(ticks), wall_ns=lambda: 10**18)  # noqa: E731 - shorter so
    instrument(pipe, model="TICKS", clock=clock, families=[Family(("Shared",), ())])
    assert torch.equal(pipe(x), x)
    uninstrument(pipe)
    for index in (1, 2):
        found: Any = recorded.span(f"step_{index}").attributes
        assert found["rushes.parallel.collectives"] == 2  # the wait is the gathering's
        assert found["rushes.parallel.comm_ns"] == 3_000_000
        assert (
            found["rushes.ns.total"] == 8_000_000
        )  # the pass' two, three times two, and the scheduler's one
    loop: Any = recorded.span("dit_inference").attributes
    assert not [name for name in loop if "parallel" in name], "nobody has noted how it is shared"
    sums = recorded.metrics("tensor_parallel_comm_duration_ms_sum")
    assert sums['tensor_parallel_comm_duration_ms_sum{model="TICKS"}'] == 6.0
