"""torch.compile: no graph break of ours, and the coarser measurement says that it is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo

from recording import Recorded
from rushes.instrument import instrument, uninstrument
from tiny_pipelines import Tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


def _whole(pipe: Any) -> None:
    pipe.transformer = torch.compile(pipe.transformer, backend="eager", fullgraph=True)


def _in_place(pipe: Any) -> None:
    pipe.transformer.compile(backend="eager", fullgraph=True)


def _blocks(pipe: Any) -> None:
    for block in pipe.transformer.transformer_blocks:
        block.compile(backend="eager", fullgraph=True)


@pytest.mark.parametrize("compile_it", [_whole, _in_place, _blocks])
@pytest.mark.parametrize("order", ["compile first", "instrument first"])
def test_compiled_code_is_not_broken(
    compile_it: Callable[[Any], None], order: str, tiny: Callable[[str], Tiny], recorded: Recorded
) -> None:
    torch._dynamo.reset()
    made = tiny("ltx")
    plain = made.run()
    if order == "compile first":
        compile_it(made.pipe)
    instrument(made.pipe, sample_every=1)
    if order == "instrument first":
        compile_it(made.pipe)
    torch._dynamo.utils.counters.clear()
    assert torch.allclose(plain, made.run(), atol=1e-5)  # fullgraph: a break would have raised
    assert not torch._dynamo.utils.counters["graph_break"]
    uninstrument(made.pipe)

    found: Any = recorded.span("step_2").attributes
    assert found["rushes.granularity"] == ("block" if compile_it is _blocks else "model")
    assert "rushes.ns.joint_attn" not in found
    assert "rushes.ns.other" not in found
    assert found["rushes.passes"] == 1
    if compile_it is _blocks:
        assert found["rushes.executed.block"] == 3
        assert 0 < found["rushes.ns.block"] < found["rushes.ns.total"]
    torch._dynamo.reset()
