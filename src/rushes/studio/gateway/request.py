"""What a submission asks for, checked field by field, so that each error names its parameter."""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rushes.catalog import TIERS
from rushes.studio.gateway.errors import ApiError, bad_value, shown, unknown_model
from rushes.studio.gateway.picture import reference
from rushes.studio.jobs import NO_SEED, JobPrompt
from rushes.studio.keys import tier_allows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rushes.studio.models.card import ModelCard

_FIELDS: Final = (
    "prompt",
    "model",
    "seconds",
    "size",
    "tier",
    "seed",
    "steps",
    "negative_prompt",
    "guidance_scale",
    "input_reference",
)
_SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_MAX_GUIDANCE: Final = 30.0
_RANDOM_SEEDS: Final = 2**31


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """A submission that the model can render. Sizes in pixels; `reference` is the file of a picture, unread."""

    prompt: JobPrompt
    card: ModelCard
    tier: str
    seconds: float
    width: int
    height: int
    steps: int
    seed: int
    guidance_scale: float
    num_frames: int
    reference: bytes | None = field(repr=False)


def parse_request(
    fields: Mapping[str, object],
    cards: Mapping[str, ModelCard],
    *,
    key_tier: str,
    unavailable: Mapping[str, str] = MappingProxyType({}),
) -> VideoRequest:
    """Checks a submission's fields; what is left out takes the model's default, the seed a random value.

    Raises:
        ApiError: the first field that is unknown, of the wrong type, or beyond what the model or the key allows.
    """
    for name in fields:
        if name not in _FIELDS:
            message = f"unknown parameter {shown(name)}; parameters are {', '.join(_FIELDS)}"
            raise ApiError(
                400, message, code="unknown_parameter", param=name[:64].encode("ascii", "replace").decode()
            )
    card = _card(fields.get("model"), cards, unavailable)
    prompt = _text(fields, "prompt", card.prompt_limit)
    if not prompt.strip():
        said = "is required" if fields.get("prompt") is None else "is empty"
        raise bad_value("prompt", f"prompt {said}; describe the video", code="missing_prompt")
    negative = _text(fields, "negative_prompt", card.prompt_limit)
    width, height = _size(fields, card)
    seconds = _number(fields, "seconds", card.default_seconds)
    steps = _integer(fields, "steps", card.default_steps)
    _check(card, width, height, seconds, steps)
    seed = _seed(fields, card)
    if fields.get("guidance_scale") is not None and not card.takes_guidance:
        text = f"guidance_scale can't be chosen for {card.name}; leave it out"
        raise bad_value("guidance_scale", text, code="unsupported_parameter")
    guidance = _number(fields, "guidance_scale", card.default_guidance)
    if not 1.0 <= guidance <= _MAX_GUIDANCE:
        raise bad_value(
            "guidance_scale", f"guidance_scale must be between 1 and {_MAX_GUIDANCE:g}, got {guidance:g}"
        )
    return VideoRequest(
        prompt=JobPrompt(prompt, negative),
        card=card,
        tier=_tier(fields.get("tier"), key_tier),
        seconds=seconds,
        width=width,
        height=height,
        steps=steps,
        seed=seed,
        guidance_scale=guidance,
        num_frames=card.frames_for(seconds),
        reference=_reference(fields.get("input_reference"), card, cards),
    )


def _card(name: object, cards: Mapping[str, ModelCard], unavailable: Mapping[str, str]) -> ModelCard:
    if name is not None and not isinstance(name, str):
        raise _wrong_type("model", "a text")
    if isinstance(name, str) and name in unavailable:
        message = f"{name} can't be served now: {unavailable[name]}"
        raise ApiError(503, message, code="model_unavailable", kind="server_error", param="model")
    if name is None or name not in cards:
        raise unknown_model(name, cards)
    return cards[name]


def _tier(asked: object, key_tier: str) -> str:
    if asked is None:
        return key_tier
    if not isinstance(asked, str):
        raise _wrong_type("tier", "a text")
    if asked not in TIERS:
        raise bad_value("tier", f"unknown tier {shown(asked)}; tiers are {', '.join(TIERS)}")
    if not tier_allows(key_tier, asked):
        message = f"this key's tier is {key_tier}, which does not allow {asked}; ask for {key_tier} or lower"
        raise ApiError(403, message, code="tier_not_allowed", kind="permission_error", param="tier")
    return asked


def _check(card: ModelCard, width: int, height: int, seconds: float, steps: int) -> None:
    """Asks the card, one parameter at a time, to know which of them it refuses."""
    for param, values in (
        ("size", (width, height, card.default_seconds, card.default_steps)),
        ("seconds", (width, height, seconds, card.default_steps)),
        ("steps", (width, height, seconds, steps)),
    ):
        try:
            card.validate(*values)
        except ValueError as error:
            raise bad_value(param, str(error)) from None


def _seed(fields: Mapping[str, object], card: ModelCard) -> int:
    if fields.get("seed") is None:
        return NO_SEED if card.max_seed is None else secrets.randbelow(_RANDOM_SEEDS)
    seed = _integer(fields, "seed", 0)
    try:
        card.check_seed(seed)
    except ValueError as error:
        raise bad_value("seed", str(error)) from None
    return seed


def _reference(value: object, card: ModelCard, cards: Mapping[str, ModelCard]) -> bytes | None:
    if value is None:
        return None
    if not card.takes_picture:
        able = ", ".join(sorted(name for name, other in cards.items() if other.takes_picture)) or "none here"
        text = f"{card.name} can't begin a video with a picture; models that can: {able}"
        raise bad_value("input_reference", text, code="unsupported_parameter")
    return reference(value)


def _text(fields: Mapping[str, object], name: str, limit: int) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong_type(name, "a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise bad_value(name, f"{name} is not valid Unicode: it has half a surrogate pair") from None
    if len(value) > limit:
        message = f"{name} has {len(value)} characters; this model takes {limit} at most"
        raise bad_value(name, message, code="string_above_max_length")
    return value


def _size(fields: Mapping[str, object], card: ModelCard) -> tuple[int, int]:
    value = fields.get("size")
    if value is None:
        return card.default_width, card.default_height
    if not isinstance(value, str):
        raise _wrong_type("size", "a text such as '64x64'")
    match = _SIZE.fullmatch(value)
    if match is None:
        raise bad_value("size", f"size must be WIDTHxHEIGHT in pixels, such as '64x64', got {shown(value)}")
    return int(match[1]), int(match[2])


def _number(fields: Mapping[str, object], name: str, default: float) -> float:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _wrong_type(name, "a number")
    if isinstance(value, str) and _NUMBER.fullmatch(value) is None:  # Python would also take 1_0
        raise bad_value(name, f"{name} must be a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise bad_value(name, f"{name} must be a finite number, got {shown(value)}")
    return number


def _integer(fields: Mapping[str, object], name: str, default: int) -> int:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _wrong_type(name, "a whole number")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) or (isinstance(value, str) and _INTEGER.fullmatch(value)):
        return int(value)
    raise bad_value(name, f"{name} must be a whole number, got {shown(value)}")


def _wrong_type(param: str, wanted: str) -> ApiError:
    return bad_value(param, f"{param} must be {wanted}", code="invalid_type")
