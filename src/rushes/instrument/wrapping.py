"""Puts a callable around an object's method and takes it away again, whatever happened to the object in between.

Wrapping costs a third of a hook, and stays out of `torch.nn.Module`'s machinery. What makes it safe: functions are
bound with MethodType, so that a deep copy of the object (LTX2 copies its scheduler) gets its own; `functools.wraps`
keeps signatures (pipelines inspect them); diffusers' caches replace `forward`, so a wrapper goes below their hooks,
where only real computation arrives; and removal looks wherever such a hook may have carried the wrapper.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, Final

__all__ = ["Attachment", "Patch", "PatchSet", "attach", "inner_slot", "release"]

Make = Callable[[Callable[..., Any]], Callable[..., Any]]

_lock: Final = threading.RLock()
_attached: Final[dict[tuple[int, str], Attachment]] = {}


class Patch:
    """A wrapper for one attribute of one object; in place or not.

    `make` gets the original and returns what stands in its place, called with the same arguments. The original of a
    method that only the class has is the plain function, so the arguments begin with the object itself.
    """

    __slots__ = ("_attr", "_below", "_bound", "_make", "_object", "_original", "_wrapper")

    def __init__(self, obj: Any, attr: str, make: Make, *, below_hooks: bool = False) -> None:
        self._object = weakref.ref(obj)
        self._attr = attr
        self._make = make
        self._below = below_hooks
        self._bound = False
        self._original: Any = None
        self._wrapper: Any = None  # the function, never bound: a bound one would keep the object alive

    def put(self) -> None:
        """In place, in front of whatever is there now."""
        obj = self._object()
        if obj is None:
            return
        own = vars(obj)
        if self._bound and self._attr not in own and "_diffusers_hook" not in own:  # as the last time
            own[self._attr] = MethodType(self._wrapper, obj)
            return
        holder, attr = inner_slot(obj) if self._below else (obj, self._attr)
        bound = attr not in vars(holder)  # the class's own, nobody's replacement
        current = getattr(type(holder), attr) if bound else vars(holder)[attr]
        if self._wrapper is None or current is not self._original:
            wrapper = functools.wraps(current)(self._make(current))
            self._original, self._bound, self._wrapper = current, bound, wrapper  # at once, or not at all
        vars(holder)[attr] = MethodType(self._wrapper, obj) if bound else self._wrapper

    def take_away(self) -> None:
        """As it was; a replacement that somebody made in the meantime stays."""
        obj = self._object()
        if obj is None or self._wrapper is None:
            return
        own = vars(obj)
        if self._bound and getattr(own.get(self._attr), "__func__", None) is self._wrapper:
            del own[self._attr]
            return
        for holder, attr in _slots(obj, self._attr):
            found = vars(holder).get(attr)
            if found is None or getattr(found, "__func__", found) is not self._wrapper:
                continue
            if not self._bound:
                vars(holder)[attr] = self._original
            else:  # a hook has captured the bound wrapper: it gets the bound original
                vars(holder)[attr] = MethodType(self._original, obj)


class PatchSet:
    """Patches that go in and out together, shared by the calls that are under way: the last to leave removes them.

    Users are told apart by identity and let go as often as they like, so that one whose thread was cancelled in the
    midst of `put` needs not know how far it got.
    """

    __slots__ = ("_users", "patches")

    def __init__(self, patches: list[Patch]) -> None:
        self.patches = patches
        self._users: set[int] = set()

    @property
    def in_use(self) -> bool:
        """Whether the patches are in place."""
        return bool(self._users)

    def put(self, user: object) -> None:
        """In place, until this user and all others have let go."""
        with _lock:
            self._users.add(id(user))
            if len(self._users) == 1:
                for patch in self.patches:
                    patch.put()

    def take_away(self, user: object) -> None:
        """This user lets go."""
        with _lock:
            self._users.discard(id(user))
            if not self._users:
                for patch in reversed(self.patches):
                    patch.take_away()


def inner_slot(module: Any) -> tuple[Any, str]:
    """Where the function stands that really computes `module.forward`: below diffusers' hooks, if there are any."""
    refs = getattr(vars(module).get("_diffusers_hook"), "_fn_refs", None)
    if not refs:
        return module, "forward"
    innermost = refs[0]
    return innermost, "original_forward" if innermost.original_forward is not None else "forward"


def _slots(obj: Any, attr: str) -> Iterator[tuple[Any, str]]:
    yield obj, attr
    if attr != "forward":
        return
    yield obj, "_old_forward"  # accelerate's offloading keeps the replaced forward here
    for ref in getattr(vars(obj).get("_diffusers_hook"), "_fn_refs", ()):
        yield ref, "original_forward"
        yield ref, "forward"


class Attachment:
    """A patch that several holders share: pipelines may share a VAE, and it is timed once."""

    __slots__ = ("_holders", "_key", "_patch", "_watch")

    def __init__(self, key: tuple[int, str], patch: Patch, watch: weakref.ref[Any]) -> None:
        self._key = key
        self._patch = patch
        self._holders: set[int] = set()
        self._watch = watch  # forgets the key when the object dies, since its id may be used again

    def hold(self, holder: list[Attachment]) -> None:
        """In place, until all have let go."""
        holder.append(self)  # first: whoever is cancelled in the next line lets go of it all the same
        _attached[self._key] = self
        self._holders.add(id(holder))
        if len(self._holders) == 1:
            self._patch.put()

    def release(self, holder: list[Attachment]) -> None:
        """This holder lets go; the last takes the wrapper away."""
        with _lock:
            self._holders.discard(id(holder))
            if not self._holders:
                self._patch.take_away()
                if _attached.get(self._key) is self:
                    del _attached[self._key]


def attach(obj: Any, attr: str, make: Make, holder: list[Attachment]) -> None:
    """Wraps `obj.attr` until all holders have let go; the attachment is added to this one."""
    key = (id(obj), attr)
    with _lock:
        found = _attached.get(key)
        if found is None:
            watch = weakref.ref(obj, lambda _: _attached.pop(key, None))
            found = Attachment(key, Patch(obj, attr, make), watch)
        found.hold(holder)


def release(holder: list[Attachment]) -> None:
    """Lets go of all that a holder holds."""
    for attachment in holder:
        attachment.release(holder)
    holder.clear()
