"""Rushes: observability for services that turn prompts into video."""

from __future__ import annotations

from rushes.instrument import Family, Rule, instrument, job, report, uninstrument
from rushes.sdk import configure, flush, instruments, shutdown

__all__ = [
    "Family",
    "Rule",
    "configure",
    "flush",
    "instrument",
    "instruments",
    "job",
    "report",
    "shutdown",
    "uninstrument",
]
