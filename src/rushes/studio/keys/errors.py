"""Why a key may not submit another video now, raised inside the accepting transaction, and why one is not found."""

from __future__ import annotations


class KeyRefusedError(Exception):
    """The key is known, but may not have what was asked."""


class InsufficientCreditsError(KeyRefusedError):
    """The key's balance does not cover the video."""

    def __init__(self, needed: int, balance: int) -> None:
        super().__init__(
            f"this video costs {needed} credits and the key has {balance}; add credits to the key"
        )
        self.needed = needed
        self.balance = balance


class QuotaExceededError(KeyRefusedError):
    """The key has used up its videos of the day (UTC)."""

    def __init__(self, quota: int, retry_after_s: float) -> None:
        super().__init__(f"the key's quota of {quota} videos a day is used up; it starts anew at 00:00 UTC")
        self.quota = quota
        self.retry_after_s = retry_after_s


class UnknownKeyError(LookupError):
    """No key, or several, that can be meant."""

    def __init__(self, name: str, ids: list[str]) -> None:
        super().__init__(
            f"several keys are called {name!r}: {', '.join(ids)}; say which by its id"
            if ids
            else f"there is no key {name!r}, or it was revoked; `rushes keys list` shows all"
        )
