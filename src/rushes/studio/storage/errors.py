"""What can go wrong with the store, told so that the text may be logged: no credential, no signed URL in it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")


class StorageError(RuntimeError):
    """The store refused or could not be reached; the text names the store and the cause."""


class NoSuchObject(KeyError):  # noqa: N818 - it reads like the KeyError it is
    """No object of that name, or no name of an object at all."""

    def __init__(self, name: object) -> None:
        super().__init__(f"no such object: {ascii(name)[:100]}")

    def __str__(self) -> str:
        return str(self.args[0])


def redact(url: str) -> str:
    """`url` without user, password, query and fragment, where keys and signatures stand."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://…"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def explain(error: BaseException) -> str:
    """The first line of what the store said, its URLs redacted; the rest is a dump of its internals."""
    first = str(error).strip().partition("\n")[0]
    return URL.sub(lambda found: redact(found[0]), first) or type(error).__name__
