"""The lists of terms: one plain-text file a category, ours as a starting point, the operator's beside or instead.

A list that is damaged must not pass for a list: every fault is an error that names the file and the line, and never
the term, because these errors are logged.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from rushes.studio.safety import views

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

ALLOW: Final = "allow"  # the file of phrases that are ordinary although a term shows in them
CATEGORY: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


class TermsError(ValueError):
    """A list of terms can't be used; the text names the file and the line."""


@dataclass(frozen=True, slots=True, repr=False)
class Term:
    """One line of a list. It has no repr that could show it."""

    category: str
    canonical: str
    words: tuple[str, ...]

    @property
    def rule_id(self) -> str:
        """The same for the same term in every version of a list; tells nothing to whoever lacks the list."""
        digest = hashlib.sha256("\0".join((self.category, *self.words)).encode()).hexdigest()
        return f"{self.category}-{digest[:10]}"


@dataclass(frozen=True, slots=True, repr=False)
class Lists:
    """Terms by their words, and phrases that are let through."""

    terms: dict[tuple[str, ...], Term]
    allowed: dict[tuple[str, ...], Term]


def load(folder: Path | None, *, replace: bool) -> Lists:
    """The default lists, with the operator's added or in their place. Raises TermsError."""
    found = Lists({}, {})
    sources: list[Traversable] = []
    if folder is None or not replace:
        sources.append(resources.files("rushes.studio.safety") / "terms")
    if folder is not None:
        sources.append(folder)
    for source in sources:  # the operator's come last: where both have a term, theirs says the category
        more = _folder(source)
        found.terms.update(more.terms)
        found.allowed.update(more.allowed)
    return found


def _folder(folder: Traversable) -> Lists:
    try:
        files = sorted((f for f in folder.iterdir() if f.name.endswith(".txt")), key=lambda f: f.name)
    except OSError as error:
        raise TermsError(f"the folder of term lists {folder} can't be read: {error.strerror}") from error
    found = Lists({}, {})
    seen: dict[tuple[str, ...], str] = {}
    for file in files:
        category = file.name.removesuffix(".txt")
        if not CATEGORY.fullmatch(category):
            raise TermsError(
                f"the term list {file} must be named <category>.txt, the category in lower-case letters, digits "
                "and underscores"
            )
        into = found.allowed if category == ALLOW else found.terms
        for place, term in _file(file, category):
            if earlier := seen.get(term.words):
                raise TermsError(f"{place}: the same term stands in {earlier} already; remove one of them")
            seen[term.words] = place
            into[term.words] = term
    if not found.terms:
        raise TermsError(f"the folder of term lists {folder} has no <category>.txt with terms")
    return found


def _file(file: Traversable, category: str) -> list[tuple[str, Term]]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TermsError(f"the term list {file} can't be read: {error.strerror}") from error
    found: list[tuple[str, Term]] = []
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        place = f"{file}, line {number}"
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError as error:
            raise TermsError(
                f"{place}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
            ) from None
        if not line or line.startswith("#"):
            continue
        canonical = views.canonical(line)
        words = tuple(views.words(canonical))
        if len("".join(views.joined(views.folded_term(canonical)))) < 2 or not words:  # noqa: PLR2004 - see text
            raise TermsError(f"{place}: a term needs at least two letters or digits")
        found.append((place, Term(category, canonical, words)))
    if not found:
        raise TermsError(f"the term list {file} has no terms; add some, or remove the file")
    return found
