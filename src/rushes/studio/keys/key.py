"""What an API key is: a random secret of which only the SHA-256 and the last four characters are ever kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from rushes.catalog import TIERS

_SECRET_BYTES: Final = 24  # 32 url-safe characters


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret.

    Attributes:
        id: "key_" and 16 hex digits; what telemetry calls `user_id`.
        tier: one of the catalog's `TIERS`; the highest one this key may ask for.
        rate_limit_per_minute: submissions a minute, in the long run and as a burst. One that is refused for
            another reason (a wrong value, no credits) counts too; one over this limit does not.
        quota_per_day: videos a UTC day.
        credits: what is left to reserve.
    """

    id: str
    name: str
    last_four: str
    tier: str
    rate_limit_per_minute: int
    quota_per_day: int
    credits: int
    active: bool
    created_ns: int


def new_secret() -> str:
    """A fresh secret: "rk_" and 32 url-safe characters."""
    return "rk_" + secrets.token_urlsafe(_SECRET_BYTES)


def hash_secret(secret: str) -> str:
    """SHA-256 in hex. A secret has 192 random bits, so neither salt nor a slow hash adds anything."""
    return hashlib.sha256(secret.encode()).hexdigest()


def last_four(secret: str) -> str:
    """The last four characters, or "" for what is too short to be a key: four could be most of it."""
    return secret[-4:] if len(secret) >= 20 else ""  # noqa: PLR2004 - explained in the docstring


def tier_allows(key_tier: str, asked: str) -> bool:
    """Whether a key of `key_tier` may ask for the tier `asked`. Both must be in `TIERS`, which begins
    with the highest.
    """
    return TIERS.index(asked) >= TIERS.index(key_tier)
