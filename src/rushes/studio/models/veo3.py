"""VEO3's card: what Google's API offers, which no weights of ours can tell. Imports nothing of Google's."""

from __future__ import annotations

from typing import Final

from rushes.studio.models.card import ModelCard

NAME: Final = "VEO3"
_MAX_SEED: Final = 2**32 - 1


def card(*, takes_seed: bool) -> ModelCard:
    """The card; Vertex AI takes seeds, the Gemini Developer API does not."""
    return ModelCard(
        name=NAME,
        pipeline="",
        text_encoder_role="",
        has_audio=True,
        fps=24,
        default_seconds=8.0,
        min_seconds=4.0,
        max_seconds=8.0,
        default_width=1280,
        default_height=720,
        min_size=720,
        max_width=1920,
        max_height=1920,
        size_multiple=8,
        min_steps=0,
        default_steps=0,
        max_steps=0,
        default_guidance=1.0,
        prompt_limit=4000,
        sizes=((1280, 720), (720, 1280), (1920, 1080), (1080, 1920)),
        durations=(4.0, 6.0, 8.0),
        max_seed=_MAX_SEED if takes_seed else None,
        takes_guidance=False,
        takes_picture=True,
    )
