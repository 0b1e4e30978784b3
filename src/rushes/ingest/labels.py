"""Labels of a series out of a point's attributes, and the identity that they give it."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import numpy as np

from rushes.ingest.attributes import as_text

__all__ = ["label_name", "labels", "le", "series_id"]

_LEGAL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_]")


def label_name(attribute: str) -> str:
    """An attribute's key as a label that PromQL can name: as it is if legal, else with underscores."""
    if _LEGAL.match(attribute):
        return attribute
    name = _ILLEGAL.sub("_", attribute)
    return f"key_{name}" if name[:1].isdigit() else name


def labels(attributes: dict[str, Any]) -> dict[str, str]:
    """Attributes as labels; values of keys that become one label are joined by ";", as Prometheus does it."""
    found: dict[str, str] = {}
    for key in sorted(attributes):
        value = as_text(attributes[key])
        if value == "":
            continue  # an empty label is no label
        name = label_name(key)
        found[name] = f"{found[name]};{value}" if name in found else value
    return found


def le(bound: float) -> str:
    """A bucket's upper bound as Prometheus writes it: shortest digits, no exponent, integers without .0."""
    if bound == float("inf"):
        return "+Inf"
    if bound == float("-inf"):
        return "-Inf"
    return np.format_float_positional(bound, trim="-")


def series_id(metric: str, of: dict[str, str]) -> int:
    """The series' 64-bit identity: a hash of its name and sorted labels."""
    digest = hashlib.blake2b(metric.encode(), digest_size=8)
    for name in sorted(of):
        digest.update(b"\xff" + name.encode() + b"\xff" + of[name].encode())
    return int.from_bytes(digest.digest(), "big")
