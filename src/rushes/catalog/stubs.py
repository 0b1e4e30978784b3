"""The type stub of `rushes.sdk.instruments`, written from the catalog.

The instruments themselves are made at run time, so that an undeclared label is counted and never raises into a
user's program; the stub lets a type checker refuse it before.
"""

from __future__ import annotations

import keyword

from rushes.catalog.labels import FAILURE_REASONS, STEP_TYPES, TIERS
from rushes.catalog.metrics import METRICS
from rushes.catalog.model import Kind, Label, Metric

__all__ = ["instruments_stub"]

_ALIASES = {"Tier": TIERS, "Reason": FAILURE_REASONS, "StepType": STEP_TYPES}

_HEAD = """# Typed instruments, one a metric. Written by `make generate` from src/rushes/catalog.

from collections.abc import Iterable
from typing import Literal, TypeAlias

from rushes.sdk.instrument_types import Instrument, Observe

"""


def instruments_stub() -> str:
    """src/rushes/sdk/instruments.pyi."""
    parts = [_HEAD]
    for alias, values in _ALIASES.items():
        parts.append(f"{alias}: TypeAlias = Literal[{', '.join(map(_quoted, values))}]\n")
    parts.append("\n")
    parts.extend(_class(metric) for metric in METRICS.values())
    parts.extend(f"{metric.name}: {_class_name(metric)}\n" for metric in METRICS.values())
    parts.append("\ndef get(name: str) -> Instrument: ...\n")
    return "".join(parts)


def _quoted(value: str) -> str:
    return f'"{value}"'


def _class_name(metric: Metric) -> str:
    return "_" + "".join(part.title() for part in metric.name.split("_"))


def _type(label: Label) -> str:
    for alias, values in _ALIASES.items():
        if label.values == values:
            return alias
    return f"Literal[{', '.join(map(_quoted, label.values))}]" if label.values else "str"


def _class(metric: Metric) -> str:
    labels = "".join(
        f", {label.name}{'_' if keyword.iskeyword(label.name) else ''}: {_type(label)}"
        for label in metric.labels
    )
    keywords = f", *{labels}" if labels else ""
    match metric.kind:
        case Kind.COUNTER:
            method = f"    def add(self, amount: float = 1{keywords}) -> None: ...\n"
        case Kind.HISTOGRAM:
            method = f"    def record(self, value: float{keywords}) -> None: ...\n"
        case Kind.GAUGE:
            method = f"    def set(self, value: float{keywords}) -> None: ...\n"
    if metric.kind is not Kind.HISTOGRAM:
        method += "    def observe(self, callback: Observe) -> None: ...\n"
    if metric.kind is Kind.COUNTER:
        method += "    def zero(self, **known: Iterable[str]) -> None: ...\n"
    return f"class {_class_name(metric)}(Instrument):\n{method}\n"
