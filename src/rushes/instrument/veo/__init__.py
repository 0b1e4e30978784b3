"""Veo, Google's video model, by google-genai: a small client with times and failures. Needs the extra `veo`."""

from __future__ import annotations

from rushes.instrument.veo.client import Cancel, VeoClient, VeoRequest, VeoResult
from rushes.instrument.veo.failure import Failure, VeoCancelled, VeoError
from rushes.instrument.veo.telemetry import Stage, Telemetry

__all__ = [
    "Cancel",
    "Failure",
    "Stage",
    "Telemetry",
    "VeoCancelled",
    "VeoClient",
    "VeoError",
    "VeoRequest",
    "VeoResult",
]
