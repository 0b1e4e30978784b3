"""What each model does not offer is refused before anything is queued, with the parameter and what would do."""

from __future__ import annotations

from typing import Any

import pytest

from rushes.studio.gateway.errors import ApiError
from rushes.studio.gateway.request import VideoRequest, parse_request
from rushes.studio.models import ModelCard, veo3
from rushes.studio.models.cards import SMALL

CARDS: dict[str, ModelCard] = {**SMALL, "VEO3": veo3.card(takes_seed=False)}
LOCAL = sorted(SMALL)


def _ask(model: str, **fields: Any) -> VideoRequest:
    return parse_request({"prompt": "a ball", "model": model} | fields, CARDS, key_tier="premium")


def _refused(model: str, **fields: Any) -> tuple[str | None, str]:
    with pytest.raises(ApiError) as refusal:
        _ask(model, **fields)
    assert refusal.value.status == 400
    return refusal.value.param, refusal.value.message


@pytest.mark.parametrize("model", sorted(CARDS))
def test_the_defaults_are_offered(model: str) -> None:
    wanted, card = _ask(model), CARDS[model]
    assert (wanted.width, wanted.height, wanted.seconds) == (
        card.default_width,
        card.default_height,
        card.default_seconds,
    )


@pytest.mark.parametrize("model", sorted(CARDS))
def test_prompts_have_a_length(model: str) -> None:
    limit = CARDS[model].prompt_limit
    assert len(_ask(model, prompt="p" * limit, negative_prompt="n" * limit).prompt.negative) == limit
    for name in ("prompt", "negative_prompt"):
        param, told = _refused(model, **{name: "p" * (limit + 1)})
        assert (param, f"this model takes {limit} at most" in told) == (name, True)


@pytest.mark.parametrize("model", sorted(CARDS))
def test_sizes_have_bounds(model: str) -> None:
    card = CARDS[model]
    largest = f"{card.max_width}x{card.max_height}" if not card.sizes else "1920x1080"
    assert _ask(model, size=largest).height > 0
    for size in ("0x0", "1x1", "99999x99999", f"{card.default_width + 1}x{card.default_height}"):
        param, told = _refused(model, size=size)
        assert (param, "it takes" in told) == ("size", True)


@pytest.mark.parametrize("model", sorted(CARDS))
def test_lengths_have_bounds(model: str) -> None:
    card = CARDS[model]
    for seconds in (card.min_seconds, card.max_seconds):
        assert _ask(model, seconds=seconds).seconds == seconds
    for seconds in (0, -1, card.min_seconds - 0.5, card.max_seconds + 0.5):
        param, told = _refused(model, seconds=seconds)
        assert (param, f"{model} makes videos of" in told) == ("seconds", True)


@pytest.mark.parametrize("model", LOCAL)
def test_steps_have_bounds(model: str) -> None:
    card = CARDS[model]
    for steps in (card.min_steps, card.max_steps):
        assert _ask(model, steps=steps).steps == steps
    for steps in (card.min_steps - 1, card.max_steps + 1):
        param, told = _refused(model, steps=steps)
        assert (param, f"takes {card.min_steps} to {card.max_steps} steps" in told) == ("steps", True)


@pytest.mark.parametrize("model", LOCAL)
def test_seeds_have_bounds(model: str) -> None:
    assert _ask(model, seed=2**63 - 1).seed == 2**63 - 1
    assert _refused(model, seed=2**63)[0] == "seed"
    assert _refused(model, seed=-1)[0] == "seed"


@pytest.mark.parametrize("field", ["steps", "seed", "guidance_scale"])
def test_what_a_provider_decides_can_not_be_chosen(field: str) -> None:
    param, told = _refused("VEO3", **{field: 5})
    assert (param, "leave" in told) == (field, True)


def test_only_some_begin_with_a_picture() -> None:
    for model in ("LTX2", "VEO3"):
        assert _ask(model, input_reference=b"a file").reference == b"a file"
    for model in ("MOCHI1", "OPENSORA"):
        param, told = _refused(model, input_reference=b"a file")
        assert (param, "models that can: LTX2, VEO3" in told) == ("input_reference", True)
