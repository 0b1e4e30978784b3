"""Instrumentation without touching the script: every diffusers pipeline is instrumented as it is made.

OpenTelemetry's `opentelemetry-instrument` finds the class by its entry point, RUSHES_AUTO=1 calls it as diffusers is
imported (src/_rushes_auto.py), anybody else calls `RushesInstrumentor().instrument()` once. diffusers takes seconds to
import, so it is not imported for this: the hook waits until the program imports it, and costs a program that never does
nothing.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Collection, Sequence
from types import ModuleType
from typing import Any, Final

from rushes.instrument.pipeline import instrument

__all__ = ["RushesInstrumentor"]

_MODULE: Final = "diffusers.pipelines.pipeline_utils"


class RushesInstrumentor:
    """Has the shape that OpenTelemetry expects of an instrumentor, without needing its package."""

    _state: Final[dict[str, Any]] = {}

    def instrumentation_dependencies(self) -> Collection[str]:
        """The packages that are instrumented."""
        return ("diffusers >= 0.35",)

    def instrument(self, **kwargs: Any) -> None:
        """From now on every new pipeline is instrumented. Set RUSHES_AUTO=0 to have this do nothing.

        Args:
            kwargs: options of `rushes.instrument`; what OpenTelemetry's loader adds of its own is left out.
        """
        if self._state or os.environ.get("RUSHES_AUTO", "1").lower() in {"0", "false", "no", "off"}:
            return
        names = ("model", "sample_every", "families", "report", "memory_peaks", "clock")
        self._state["options"] = {name: kwargs[name] for name in names if name in kwargs}
        module = sys.modules.get(_MODULE)
        if module is not None and hasattr(module, "DiffusionPipeline"):
            _patch(module.DiffusionPipeline, self._state)
            return
        finder = self._state["finder"] = _Finder(self._state)
        sys.meta_path.insert(0, finder)

    def uninstrument(self, **_kwargs: Any) -> None:
        """New pipelines are not instrumented any more; those that are stay so."""
        finder = self._state.get("finder")
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        patched = self._state.get("patched")
        if patched is not None:
            cls, original = patched
            cls.register_modules = original
        self._state.clear()


def _patch(cls: Any, state: dict[str, Any]) -> None:
    original = cls.register_modules
    state["patched"] = (cls, original)
    options = state["options"]

    # Every pipeline's constructor registers its components here, `from_pretrained` included.
    @functools.wraps(original)
    def register_modules(self: Any, **modules: Any) -> None:
        original(self, **modules)
        if callable(self):  # a base class may have no call of its own
            try:
                instrument(self, **options)
            except Exception as error:  # noqa: BLE001 - the script asked for nothing: it goes on, uninstrumented
                name = type(self).__name__
                sys.stderr.write(f"rushes: {name} is not instrumented: {type(error).__name__}: {error}\n")

    cls.register_modules = register_modules


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the others find the module, and patches it once it has run."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state
        self._looking = False

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002 - likewise
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own spec, with a loader that patches afterwards; None for all other modules."""
        if fullname != _MODULE or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._state)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, state: dict[str, Any]) -> None:
        self._loader = loader
        self._state = state

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if self._state and hasattr(module, "DiffusionPipeline"):
            _patch(module.DiffusionPipeline, self._state)
