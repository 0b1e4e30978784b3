"""Which colour a thing has, on every page: a number of the eight series colours, or the name of a state.

Models, tiers, stages and step kinds are fixed; a name that nobody foresaw gets one of the later colours by its
hash, so that it keeps it too.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

__all__ = ["STAGE_KINDS", "series_tone", "stage_kind", "state"]

_FIXED: Final[Mapping[str, int]] = {
    "MOCHI1": 1, "LTX2": 2, "OPENSORA": 3, "VEO3": 4,
    "realtime": 4, "premium": 2, "standard": 1, "free": 8,
    "P50": 7, "P99": 8,
}  # fmt: skip

_STATES: Final[Mapping[str, str]] = {
    "queued": "idle", "encoding": "busy", "waiting": "idle", "assigned": "busy", "generating": "busy",
    "completed": "good", "failed": "bad", "cancelled": "idle",
    "ok": "good", "error": "bad", "unset": "idle",
    "idle": "idle", "loading": "warn", "draining": "warn", "offline": "bad",
}  # fmt: skip

STAGE_KINDS: Final[Mapping[str, str]] = {
    "gateway": "gateway",
    "rushes.encode_wait": "wait",
    "prompt_processing": "prompt",
    "safety.pregen": "safety",
    "queue_wait": "wait",
    "worker_setup": "setup",
    "dit_inference": "dit",
    "noise.initialize": "dit",
    "denoising_loop": "dit",
    "vae_decode": "vae",
    "audio_generation": "audio",
    "rushes.provider": "wait",
    "rushes.interrupted": "wait",
    "safety_postgen": "safety",
    "watermark": "deliver",
    "transcode": "deliver",
    "upload": "deliver",
}


def series_tone(name: str) -> int:
    """The series colour, 1 to 8, of a model, tier, statistic or any other name."""
    return _FIXED.get(name) or 5 + zlib.crc32(name.encode()) % 4


def state(status: str) -> str:
    """The state colour of a status: good, warn, bad, busy or idle."""
    return _STATES.get(status, "idle")


def stage_kind(name: str) -> str | None:
    """The kind of stage that a span of this name belongs to by itself, or None if its parent decides."""
    if name.startswith("step_") and name[5:].isdigit():
        return "dit"
    return STAGE_KINDS.get(name)
