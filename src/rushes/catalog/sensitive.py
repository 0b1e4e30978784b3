"""The specification's table "What NOT to log", as types that cannot be rendered in clear.

Whoever holds a prompt or a key holds it in one of these: `str()`, `repr()`, f-strings and log records all give
the safe form, so a slip in a log call shows a hash and not the text. `.reveal()` is the only way to the
value, and easy to search for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = [
    "NEVER_LOGGED",
    "Biometric",
    "Content",
    "NeverLogged",
    "Prompt",
    "Secret",
    "Sensitive",
    "prompt_hash",
]

T = TypeVar("T")

# A hash under a key that lives as long as the process unless the operator sets one: lines of one run can be
# joined, and a list of likely prompts can't be hashed and compared.
_PROCESS_KEY: Final = secrets.token_bytes(32)


def prompt_hash(text: str, key: bytes | None = None) -> str:
    """A keyed hash of a prompt: 16 hex digits of HMAC-SHA256."""
    return hmac.new(key or _PROCESS_KEY, text.encode(), hashlib.sha256).hexdigest()[:16]


class Sensitive(ABC, Generic[T]):
    """A value that renders as its safe form everywhere."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """The value itself, for the one place that needs it."""
        return self._value

    @abstractmethod
    def safe(self) -> str:
        """What may be shown instead."""

    def __str__(self) -> str:
        return self.safe()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.safe()})"

    def __format__(self, spec: str) -> str:
        return format(self.safe(), spec)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(
            repr(self._value).encode(), repr(other._value).encode()
        )

    def __hash__(self) -> int:
        return hash((type(self), self._value))

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError(
            f"{type(self).__name__} is not to be pickled: pass it on in clear only where it is needed"
        )


class Prompt(Sensitive[str]):
    """A prompt: PII and IP. Rendered as a keyed hash."""

    __slots__ = ()

    def safe(self) -> str:
        return f"prompt:{prompt_hash(self._value)}"

    def __len__(self) -> int:
        return len(self._value)


class Secret(Sensitive[str]):
    """A credential: an API key by its last four characters, anything shorter than 12 not at all."""

    __slots__ = ()

    def safe(self) -> str:
        shown = 12  # fewer characters, and four of them would be too much of the secret
        return f"…{self._value[-4:]}" if len(self._value) >= shown else "…"


class Content(Sensitive[bytes]):
    """Frames, audio or a file. Rendered as its size."""

    __slots__ = ()

    def safe(self) -> str:
        return f"content of {len(self._value)} bytes"


class Biometric(Sensitive[object]):
    """Face crops, embeddings, landmarks. Rendered as the fact that there was one."""

    __slots__ = ()

    def safe(self) -> str:
        return "biometric"


@dataclass(frozen=True, slots=True)
class NeverLogged:
    """A row of the table: the data, the reason, what is logged instead, and the type that sees to it."""

    data: str
    reason: str
    alternative: str
    type: type[Sensitive[str] | Sensitive[bytes] | Sensitive[object]]


NEVER_LOGGED: Final = (
    NeverLogged("Full prompts", "PII, IP", "Log hash only", Prompt),
    NeverLogged("Generated video content", "Storage, privacy", "Log metadata only", Content),
    NeverLogged("User credentials", "Security", "Never log", Secret),
    NeverLogged("Face biometrics", "Privacy", "Log detection result only", Biometric),
    NeverLogged("Full API keys", "Security", "Log last 4 chars", Secret),
)
