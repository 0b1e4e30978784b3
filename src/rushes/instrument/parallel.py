"""A network that several devices share: this process's place in it, and the time it stands still for the others.

Under context or tensor parallelism a module's time holds collectives. On a CPU a collective blocks the host; on a
GPU it runs on a stream of its own, and what is measured is how long the stream of the computation waits for it:
communication that is hidden behind computation costs nothing and counts for nothing. The collectives' functions are
wrapped during a call only, and only where a process group with several members is initialised; code that has bound
one of them by `from ... import` before is not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from rushes.instrument.active import ACTIVE
from rushes.instrument.wrapping import Attachment, Make, attach

__all__ = ["Parallelism", "attach_collectives", "is_shared", "parallelism"]

Mode = Literal["context", "tensor", "fsdp"]

# By module, what starts a collective; the waits for those that go on in the background are apart.
_FUNCTIONAL: Final = (
    "all_gather_single",
    "all_gather_single_autograd",
    "all_gather_single_coalesced",
    "all_gather_tensor",
    "all_gather_tensor_autograd",
    "all_gather_into_tensor_coalesced",
    "all_reduce",
    "all_reduce_coalesced",
    "all_to_all_single",
    "all_to_all_single_autograd",
    "broadcast",
    "permute_tensor",
    "reduce_scatter_single",
    "reduce_scatter_single_autograd",
    "reduce_scatter_single_coalesced",
    "reduce_scatter_tensor",
    "reduce_scatter_tensor_autograd",
    "reduce_scatter_tensor_coalesced",
)
_DIRECT: Final = (
    "all_gather",
    "all_gather_into_tensor",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "batch_isend_irecv",
    "broadcast",
    "recv",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "send",
)
_STARTS: Final = (
    ("torch.distributed._functional_collectives", _FUNCTIONAL),
    ("torch.distributed", _DIRECT),
)
_WAITS: Final = (("torch.distributed._functional_collectives", ("wait_tensor",)),)


@dataclass(frozen=True, slots=True)
class Parallelism:
    """This process's place among those that share a network: `rank` counts from 0 to `degree` - 1."""

    mode: Mode
    rank: int
    degree: int


def is_shared() -> bool:
    """Whether this process belongs to a group of several; imports nothing for it."""
    distributed = sys.modules.get("torch.distributed")
    return (
        distributed is not None
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def parallelism(network: Any) -> Parallelism | None:
    """How a network is shared, as diffusers or torch have noted it on the network; None where neither has."""
    network = getattr(network, "_orig_mod", network)
    config = getattr(network, "_parallel_config", None)
    context = getattr(config, "context_parallel_config", None)
    if context is not None:
        return _of(context._flattened_mesh, "context")  # noqa: SLF001 - diffusers has no public name for it
    tensor = getattr(config, "tensor_parallel_config", None)
    if tensor is not None:
        return _of(tensor._mesh, "tensor")  # noqa: SLF001 - as above
    sharded = sys.modules.get("torch.distributed.tensor")
    if sharded is None or not hasattr(network, "parameters"):
        return None
    for parameter in network.parameters():
        if isinstance(parameter, sharded.DTensor):
            return _of(parameter.device_mesh, "fsdp" if _is_fsdp(network) else "tensor")
    return None


def _of(mesh: Any, mode: Mode) -> Parallelism:
    """A mesh of several dimensions counts as one, row after row."""
    rank = 0
    for place, size in zip(mesh.get_coordinate(), mesh.shape, strict=True):
        rank = rank * size + place
    return Parallelism(mode, rank, mesh.size())


def _is_fsdp(network: Any) -> bool:
    """FSDP2 keeps its shards in DTensors too, and gathers them before a module runs."""
    return any(cls.__name__ == "FSDPModule" for module in network.modules() for cls in type(module).__mro__)


def attach_collectives(holder: list[Attachment]) -> None:
    """Wraps the collectives until the holder lets go."""
    for table, make in ((_STARTS, _collective(is_wait=False)), (_WAITS, _collective(is_wait=True))):
        for path, names in table:
            module = sys.modules.get(path)
            for name in names:
                if module is not None and callable(getattr(module, name, None)):
                    attach(module, name, make, holder)


def _collective(*, is_wait: bool) -> Make:
    get = ACTIVE.get

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def collective(*args: Any, **kwargs: Any) -> Any:
            call = get()
            if call is None or call.collectives is None or call.in_collective:
                return original(*args, **kwargs)
            call.in_collective = True
            start = call.mark()
            try:
                return original(*args, **kwargs)
            finally:
                call.in_collective = False
                call.collective(start, is_wait=is_wait)

        return collective

    return make
