"""`instrument(pipe)` and `uninstrument(pipe)`: the one line, and its undoing.

A pipeline is called through its class, so the class's `__call__` is replaced while any of its pipelines is
instrumented; it looks the pipeline up and does nothing for the others.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from rushes.catalog import Level
from rushes.instrument.active import ACTIVE, not_measured
from rushes.instrument.clock import Clock
from rushes.instrument.kinds import Family
from rushes.instrument.session import DENOISERS, Options, Session
from rushes.instrument.shielded import Shielded
from rushes.instrument.totals import TOTALS
from rushes.instrument.writer import drain_waiting
from rushes.sdk import configure, flush, logs

__all__ = ["instrument", "is_instrumented", "report", "uninstrument"]

Pipe = TypeVar("Pipe")

_sessions: Final[weakref.WeakKeyDictionary[Any, Session]] = weakref.WeakKeyDictionary()
_patched: Final[Counter[type]] = Counter()
_originals: Final[dict[type, Any]] = {}  # the class's own __call__, or None where it inherits one
_lock: Final = threading.RLock()
_at_exit: Final[set[str]] = set()
_SAMPLE_EVERY: Final = 10
_LOG: Final = logs.get_logger("instrument")


def instrument(
    pipe: Pipe,
    *,
    model: str | None = None,
    sample_every: int | None = None,
    families: Iterable[Family] = (),
    report: bool = False,
    memory_peaks: bool = False,
    clock: Callable[[], Clock] | None = None,
) -> Pipe:
    """Measures every call of a diffusers pipeline from now on; outputs do not change by a bit.

    Args:
        pipe: any diffusers pipeline. Instrumenting it again replaces the options.
        model: value of the label `model`; default by the pipeline's class.
        sample_every: sub-modules are measured on every n-th step (2, 2 + n, ...); 1 every step, 0 never; default
            RUSHES_SAMPLE_EVERY, else 10.
        families: entries of the module map for models that it does not know; they come before the built-in ones.
        report: print where the time went when the process ends; also by RUSHES_REPORT=1.
        memory_peaks: on CUDA, torch's peak of allocated memory begins anew with each stage, so that each has its own;
            `torch.cuda.max_memory_allocated()` is then the last stage's.
        clock: makes the clock of each call; default CUDA events on a GPU, else the host's clock.

    Returns:
        The same pipeline.

    Raises:
        ValueError: `sample_every` is negative.
        TypeError: `families` holds something that is no Family, `pipe` is no pipeline, or `sample_every` no integer.
    """
    if not isinstance(sample_every, int | None):
        raise TypeError(f"sample_every must be an integer, got {sample_every!r}")
    if sample_every is not None and sample_every < 0:
        raise ValueError(f"sample_every must be 0 or more, got {sample_every}")
    known = tuple(families)
    for family in known:
        if not isinstance(family, Family):
            raise TypeError(f"families takes rushes.instrument.Family objects, got {type(family).__name__}")
    if isinstance(pipe, type):
        raise TypeError(f"instrument takes a pipeline that was made, not the class {pipe.__name__}")
    if not callable(pipe) or not _is_pipeline(pipe):
        raise TypeError(f"instrument takes a diffusers pipeline, not {type(pipe).__name__}")
    # Where OpenTelemetry has its providers already, this changes nothing.
    configure(log_level=Level.WARN)
    sampled = _sample_every() if sample_every is None else sample_every
    with _lock:
        uninstrument(pipe)
        session = _sessions[pipe] = Session(pipe, Options(model, sampled, known, clock, memory_peaks))
        _patch(type(pipe))
        session.finalizer = weakref.finalize(pipe, _forget, session, type(pipe))
        session.finalizer.atexit = False
    _once("flush", _leave)
    if report or os.environ.get("RUSHES_REPORT", "") in {"1", "true"}:
        _once("report", _print_report)
    return pipe


def uninstrument(pipe: Any) -> None:
    """Takes the measurement away; the pipeline is as it was. Nothing happens to one that is not instrumented."""
    try:
        weakref.ref(pipe)
    except TypeError:
        return  # what can't be referred to was never instrumented
    with _lock:
        session = _sessions.pop(pipe, None)
        if session is not None:
            _forget(session, type(pipe))


def _sample_every() -> int:
    """What the environment says. A script that did not ask for anything is not stopped by a bad value."""
    text = os.environ.get("RUSHES_SAMPLE_EVERY", "").strip()
    if not text or text.isdecimal():
        return int(text or _SAMPLE_EVERY)
    _LOG.warning(
        "log.message", error=f"RUSHES_SAMPLE_EVERY={text[:20]} is no whole number; {_SAMPLE_EVERY} is used"
    )
    return _SAMPLE_EVERY


def _is_pipeline(pipe: Any) -> bool:
    """Whether it has a pipeline's components, whatever its class is."""
    return isinstance(getattr(pipe, "components", None), Mapping) or any(
        hasattr(pipe, name) for name in (*DENOISERS, "scheduler", "vae")
    )


def is_instrumented(pipe: Any) -> bool:
    """Whether the pipeline's calls are measured."""
    return pipe in _sessions


def report() -> str:
    """Where the time of all calls so far went, as a table for people; needs no backend."""
    drain_waiting()
    return TOTALS.table()


def _forget(session: Session, cls: type) -> None:
    with _lock:
        if session.closed:
            return
        session.detach()
        if session.finalizer is not None:
            session.finalizer.detach()
        _patched[cls] -= 1
        if _patched[cls] <= 0:
            del _patched[cls]
            own = _originals.pop(cls)
            if own is None:
                del cls.__call__
            else:
                cls.__call__ = own  # type: ignore[method-assign]  # what was there before


def _patch(cls: type) -> None:
    _patched[cls] += 1
    if cls in _originals:
        return
    _originals[cls] = vars(cls).get("__call__")
    original: Any = cls.__call__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        session = _sessions.get(self)
        if session is None:
            with not_measured():  # it may share a decoder with one that is
                return original(self, *args, **kwargs)
        if session.is_calling(ACTIVE.get()):
            return original(self, *args, **kwargs)
        with Shielded(session.call(_arguments(signature, self, args, kwargs), whole=True)):
            return original(self, *args, **kwargs)

    cls.__call__ = call  # type: ignore[method-assign]  # see the module's first lines


def _arguments(
    signature: inspect.Signature, pipe: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The call's arguments by name, with defaults; none where they do not fit, which the pipeline will say itself."""
    try:
        bound = signature.bind(pipe, *args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    return bound.arguments


# The end of the process


def _once(name: str, last: Callable[[], object]) -> None:
    with _lock:
        if name not in _at_exit:
            _at_exit.add(name)
            atexit.register(last)


def _leave() -> None:
    drain_waiting()
    flush(timeout_s=3.0)


def _print_report() -> None:
    sys.stderr.write(f"{report()}\n")
