"""A stand-in for a prompt in logs: equal prompts look equal, and nobody without the key can guess them back."""

from __future__ import annotations

import hashlib
import hmac


def keyed_hash(prompt: str, key: bytes) -> str:
    """16 hex digits of HMAC-SHA256 over `prompt`. ValueError if `key` is shorter than 16 bytes."""
    if len(key) < 16:  # noqa: PLR2004 - 128 bits, below which keys can be searched
        raise ValueError(f"the key of the prompt hash must have at least 16 bytes, got {len(key)}")
    return hmac.new(key, prompt.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:16]
