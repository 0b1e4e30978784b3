"""One denoising network of a pipeline: what of it can be told apart, and the wrappers that do it.

The wrappers are in place during sampled steps only. In between a network is as it was: unsampled steps cost
nothing inside the network, and whoever compiles it, or puts a cache on it, meets no trace of the instrumentation.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from rushes.instrument.active import ACTIVE
from rushes.instrument.kinds import OTHER, Family, family_of
from rushes.instrument.wrapping import Patch, PatchSet

__all__ = ["BLOCK", "CONTINUED", "Denoiser", "Watched", "is_compiled", "plan", "timed", "timed_around"]

BLOCK: Final = "block"  # the part of a compiled block, which can't be divided
CONTINUED: Final = "+"  # before the kind of a further piece of a module that was measured in several
_lock: Final = threading.Lock()


@dataclass(slots=True, eq=False)
class Watched:
    """A module on which a cache decides whether it computes. `weights` are the modules of each kind it stands for."""

    weights: Counter[str]


@dataclass(slots=True, eq=False)
class Denoiser:
    """A network's plan.

    Attributes:
        granularity: module, block or model: compiled code can't be looked into.
        recognised: whether the map knows any of its modules.
        expected: how many modules of each kind there are.
        parts: the wrappers that time them.
        watched: modules with a cache's hook; `counting` are the wrappers that count asked and computed.
        families: the map that it was made with.
        seen: the network's modules and their hooks at that time.
    """

    granularity: str
    recognised: bool
    expected: Counter[str]
    parts: PatchSet
    watched: list[Watched]
    counting: PatchSet
    families: tuple[Family, ...]
    seen: list[weakref.ref[Any]]

    def is_of(self, granularity: str, families: tuple[Family, ...], objects: list[Any]) -> bool:
        """Whether the network still is what the plan was made for."""
        return (
            self.granularity == granularity
            and self.families == families
            and len(self.seen) == len(objects)
            # By weak references: the id of a hook that is gone is soon another's.
            and all(ref() is obj for ref, obj in zip(self.seen, objects, strict=True))
        )


# Pipelines may share a network; so do its wrappers. Kept by the network, which may not be kept alive by it.
_plans: Final[weakref.WeakKeyDictionary[Any, Denoiser]] = weakref.WeakKeyDictionary()


def plan(network: Any, families: Iterable[Family]) -> Denoiser:
    """The plan of a network as it is now: made anew when it was compiled, changed or got another cache since."""
    known = tuple(families)
    granularity, objects = _granularity(network), _objects(network)
    with _lock:
        found = _plans.get(network)
        if found is not None and (
            found.is_of(granularity, known, objects) or found.parts.in_use or found.counting.in_use
        ):
            return found
        made = _plans[network] = _plan(network, known, granularity, objects)
        return made


def _objects(network: Any) -> list[Any]:
    """What a plan refers to: the modules, and the hooks that diffusers' caches put on them."""
    modules = list(network.modules())
    return [*modules, *(ref for module in modules for ref in _hooks(module))]


def _hooks(module: Any) -> Iterable[Any]:
    found: Iterable[Any] = getattr(vars(module).get("_diffusers_hook"), "_fn_refs", ())
    return found


def is_compiled(module: Any) -> bool:
    """Whether calling the module runs code of torch.compile."""
    return type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None  # noqa: SLF001


def _granularity(network: Any) -> str:
    if is_compiled(network):
        return "model"
    return "block" if any(is_compiled(module) for module in network.modules()) else "module"


def _plan(network: Any, families: tuple[Family, ...], granularity: str, objects: list[Any]) -> Denoiser:
    original = getattr(network, "_orig_mod", network)
    family = family_of(type(original).__name__, families)
    patches, expected, kinds = [], Counter[str](), dict[str, str]()
    if granularity == "block":
        for module in network.modules():
            if is_compiled(module):
                attr = "forward" if type(module).__name__ == "OptimizedModule" else "_compiled_call_impl"
                patches.append(Patch(module, attr, timed(BLOCK)))
                expected[BLOCK] += 1
    elif granularity == "module" and family is not None:
        whole: set[str] = set()
        for path, module in network.named_modules():
            if any(outer in whole for outer in _prefixes(path)):
                continue
            rule = family.rule_of(path)
            if rule is not None:
                kinds[path] = rule.kind
                expected[rule.kind] += 1
                wrap = (timed_around if rule.around else timed)(rule.kind)
                patches.append(Patch(module, "forward", wrap, below_hooks=True))
                if not rule.around:
                    whole.add(path)
    watched, counting = ([], []) if granularity == "model" else _watched(network, kinds)
    seen = [weakref.ref(obj) for obj in objects]
    return Denoiser(
        granularity, bool(kinds), expected, PatchSet(patches), watched, PatchSet(counting), families, seen
    )


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def timed(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrappers that note when a part of this kind began and ended, for the call that is under way."""
    get = ACTIVE.get

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def part(*args: Any, **kwargs: Any) -> Any:
            call = get()
            if call is None or call.parts is None:
                return original(*args, **kwargs)
            mark, parts = call.mark, call.parts
            start = mark()
            try:
                return original(*args, **kwargs)
            finally:
                parts.append((kind, start, mark()))

        return part

    return make


def timed_around(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As `timed`, for what a module does between those inside it that are timed themselves."""
    get = ACTIVE.get

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def part(*args: Any, **kwargs: Any) -> Any:
            call = get()
            if call is None or call.parts is None:
                return original(*args, **kwargs)
            mark, parts = call.mark, call.parts
            first = len(parts)
            start = mark()
            try:
                return original(*args, **kwargs)
            finally:
                end = mark()
                inside = parts[first:]
                parts[first:] = [(kind, start, inside[0][1] if inside else end)]
                for found, after in zip(inside, [*inside[1:], None], strict=True):
                    parts.append(found)
                    parts.append((CONTINUED + kind, found[2], end if after is None else after[1]))

        return part

    return make


def _watched(network: Any, kinds: dict[str, str]) -> tuple[list[Watched], list[Patch]]:
    """The modules whose hooks may answer instead of the module. The network's own hooks never skip it whole."""
    found, patches = [], []
    for path, module in network.named_modules():
        for ref in _hooks(module) if path else ():
            if ref.original_forward is None:
                continue
            inside = Counter(k for p, k in kinds.items() if p == path or p.startswith(f"{path}."))
            watched = Watched(inside or Counter({OTHER: 1}))
            patches += [
                Patch(ref, "forward", _counted(watched, 0)),
                Patch(ref, "original_forward", _counted(watched, 1)),
            ]
            found.append(watched)
    return found, patches


def _counted(watched: Watched, place: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    get = ACTIVE.get

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            call = get()
            if call is not None:
                call.count(watched, place)
            return original(*args, **kwargs)

        return counted

    return make
