"""API keys and what they may use: rate, daily quota and credits, so that one caller can't starve the rest."""

from rushes.studio.keys.audit import Discrepancy, audit
from rushes.studio.keys.credit import credits_for, grant, refund, reserve, settle
from rushes.studio.keys.errors import (
    InsufficientCreditsError,
    KeyRefusedError,
    QuotaExceededError,
    UnknownKeyError,
)
from rushes.studio.keys.idempotency import AlreadySubmittedError, Repeatable, Submitted, forget_old
from rushes.studio.keys.key import ApiKey, hash_secret, last_four, new_secret, tier_allows
from rushes.studio.keys.quota import consume_quota, quota_used
from rushes.studio.keys.rate import Left, RateLimiter
from rushes.studio.keys.store import KeyStore

__all__ = [
    "AlreadySubmittedError",
    "ApiKey",
    "Discrepancy",
    "InsufficientCreditsError",
    "KeyRefusedError",
    "KeyStore",
    "Left",
    "QuotaExceededError",
    "RateLimiter",
    "Repeatable",
    "Submitted",
    "UnknownKeyError",
    "audit",
    "consume_quota",
    "credits_for",
    "forget_old",
    "grant",
    "hash_secret",
    "last_four",
    "new_secret",
    "quota_used",
    "refund",
    "reserve",
    "settle",
    "tier_allows",
]
