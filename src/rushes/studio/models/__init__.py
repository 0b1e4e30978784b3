"""The studio's models: cards the gateway reads, backends the worker runs, small checkpoints that need no download.

Nothing here imports torch or diffusers until a backend is loaded or a small checkpoint is built.
"""

from rushes.studio.models.card import ModelCard, Picture, RenderRequest
from rushes.studio.models.errors import (
    CheckpointError,
    NotLoaded,
    UnknownModel,
    UnsavableState,
    UnsupportedRequest,
    WeightsMissing,
)
from rushes.studio.models.protocol import (
    Audio,
    Backend,
    Checkpoint,
    Encoded,
    Latents,
    LoadPart,
    OnStep,
    Part,
    StepEvent,
)
from rushes.studio.models.registry import available, backend, locate, offered

__all__ = [
    "Audio",
    "Backend",
    "Checkpoint",
    "CheckpointError",
    "Encoded",
    "Latents",
    "LoadPart",
    "ModelCard",
    "NotLoaded",
    "OnStep",
    "Part",
    "Picture",
    "RenderRequest",
    "StepEvent",
    "UnknownModel",
    "UnsavableState",
    "UnsupportedRequest",
    "WeightsMissing",
    "available",
    "backend",
    "locate",
    "offered",
]
