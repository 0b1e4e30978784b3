"""Labels that several metrics share, so that a tier or a failure's reason is spelt in one place."""

from __future__ import annotations

from typing import Final, Literal, get_args

from rushes.catalog.model import Label

__all__ = [
    "CATEGORY",
    "DEVICE_KIND",
    "FAILURE_REASONS",
    "GPU",
    "MODEL",
    "MODELS",
    "REASON",
    "SAFETY_CATEGORIES",
    "STEP_TYPES",
    "THROTTLE_REASONS",
    "TIER",
    "TIERS",
    "WASTE_CAUSES",
    "WORKER",
    "WORKER_STATES",
    "Reason",
    "Throttle",
    "Tier",
]

Tier = Literal["realtime", "premium", "standard", "free"]
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
MODELS: Final = ("MOCHI1", "LTX2", "OPENSORA", "VEO3")
STEP_TYPES: Final = (
    "spatial_attn",
    "temporal_attn",
    "cross_attn",
    "ffn",
    "joint_attn",
    "audio",
    "other",
    "total",
)
Reason = Literal[
    "timeout", "cuda_error", "oom", "safety_block", "checkpoint", "provider", "storage", "internal"
]
FAILURE_REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
Throttle = Literal["sw_power_cap", "hw_slowdown", "sync_boost", "sw_thermal", "hw_thermal", "hw_power_brake"]
THROTTLE_REASONS: Final[tuple[Throttle, ...]] = get_args(Throttle)
WORKER_STATES: Final = ("loading", "idle", "generating", "draining", "offline")
WASTE_CAUSES: Final = ("retry", "recovery", "hung", "cancelled", "failed", "blocked", "cold_load")
SAFETY_CATEGORIES: Final = ("nsfw", "violence", "csam", "deepfake", "hate")

TIER: Final = Label("tier", "the customer's service tier", TIERS)
MODEL: Final = Label("model", "the model, as requests name it")
REASON: Final = Label("reason", "why the generation failed", FAILURE_REASONS)
# Open: an operator's blocklist may have categories of its own.
CATEGORY: Final = Label(
    "category", "the safety category: nsfw, violence, csam, deepfake, hate, or an operator's own"
)
WORKER: Final = Label("worker_id", "the worker process")
DEVICE_KIND: Final = Label("device_kind", "what the worker works on", ("gpu", "cpu"))
GPU: Final = (
    WORKER,
    Label("gpu_index", "the GPU's index on its host"),
    Label("gpu_type", "the GPU's product name"),
)
