"""One line that shows where a video's time goes: `instrument(pipe)` for anybody's diffusers pipeline.

Importing this package imports neither torch nor diffusers.
"""

from __future__ import annotations

from rushes.instrument.active import note_in_step, resumed_after
from rushes.instrument.auto import RushesInstrumentor
from rushes.instrument.job import Job, job
from rushes.instrument.kinds import Family, Kind, Rule
from rushes.instrument.pipeline import instrument, is_instrumented, report, uninstrument
from rushes.instrument.writer import drain_waiting

__all__ = [
    "Family",
    "Job",
    "Kind",
    "Rule",
    "RushesInstrumentor",
    "drain_waiting",
    "instrument",
    "is_instrumented",
    "job",
    "note_in_step",
    "report",
    "resumed_after",
    "uninstrument",
]
