"""The first check of a prompt: a list of terms, found however they are written, in well under a millisecond.

A list knows words and no meaning. It is the cheap floor under the classifiers, not a judgement: what it passes has
not been found safe, only not found on the list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import ahocorasick

from rushes.studio.safety import lists, views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# The gravest first: what the verdict names when a prompt has terms of several. Others follow by name.
GRAVITY: Final = ("csam", "violence", "hate", "deepfake", "nsfw")
SHORT: Final = 3  # a term of so few letters counts as spelled out only if every letter stands alone


@dataclass(frozen=True, slots=True)
class BlocklistVerdict:
    """What the list says: blocked or not, in which category and by which rule; never the term or the prompt."""

    blocked: bool
    category: str | None = None
    rule_id: str | None = None


PASSED: Final = BlocklistVerdict(blocked=False)


@dataclass(frozen=True, slots=True, order=True)
class _Rule:
    gravity: int
    category: str
    rule_id: str


# A pattern's meanings: several terms may look the same once "i", "l" and "1" are one.
_Meanings: TypeAlias = list[tuple[str, _Rule]]


class Blocklist:
    """Lists of terms, compiled; checking is thread-safe and remembers nothing."""

    def __init__(self, found: lists.Lists) -> None:
        plain: dict[str, _Meanings] = {}
        folded: dict[str, _Meanings] = {}
        squeezed: dict[str, _Meanings] = {}
        for term in found.terms.values():
            rule = _Rule(_gravity(term.category), term.category, term.rule_id)
            folded_term = views.folded_term(term.canonical)
            for patterns, text in (
                (folded, views.sentence(views.spaced(folded_term))),
                (squeezed, "".join(views.joined(folded_term))),
            ):
                patterns.setdefault(views.loosened(text), []).append((text, rule))
            text = views.sentence(list(term.words))
            plain.setdefault(text, []).append((text, rule))
        self._plain = _Search(plain)
        self._folded = _Search(folded)
        self._squeezed = _Search(squeezed)
        self._allowed = _phrases(term.words for term in found.allowed.values())

    @classmethod
    def load(cls, folder: Path | None = None, *, replace: bool = False) -> Blocklist:
        """The default lists; with `folder`, the `<category>.txt` files in it added, or with `replace` alone.

        A file holds one term a line in UTF-8; lines that start with "#" are comments. `allow.txt` holds phrases
        that are let through although a term shows in them.

        Raises:
            TermsError: a list can't be read, is empty, has a term twice or is no text; the file and line are named.
        """
        return cls(lists.load(folder, replace=replace))

    def check(self, prompt: str) -> BlocklistVerdict:
        """What the list says of `prompt`; if several terms are in it, the gravest."""
        text = views.canonical(prompt)
        if self._allowed is not None:
            text = self._allowed.sub(f" {views.BARRIER} ", text)
        gravest = min(self._found(text), default=None)
        if gravest is None:
            return PASSED
        return BlocklistVerdict(blocked=True, category=gravest.category, rule_id=gravest.rule_id)

    def _found(self, text: str) -> Iterator[_Rule]:
        plain = views.sentence(views.words(text))
        for _, _, rule in self._plain.hits(plain, plain):
            yield rule
        for reading in views.folded(text):
            strict = views.sentence(views.spaced(reading))
            for _, _, rule in self._folded.hits(views.loosened(strict), strict):
                yield rule
            pieces = views.joined(reading)
            strict = "".join(pieces)
            edges: set[int] | None = None
            for start, end, rule in self._squeezed.hits(views.loosened(strict), strict):
                if edges is None:
                    edges = _edges(pieces)
                if start in edges and end in edges and _spelled(start, end, edges):
                    yield rule


class _Search:
    """Aho-Corasick over patterns, each hit confirmed letter by letter."""

    def __init__(self, patterns: dict[str, _Meanings]) -> None:
        self._automaton = ahocorasick.Automaton()
        for pattern, meanings in patterns.items():
            self._automaton.add_word(pattern, meanings)
        self._automaton.make_automaton()

    def hits(self, loose: str, strict: str) -> Iterator[tuple[int, int, _Rule]]:
        """`(start, end, rule)` for each term in `strict`, which `loose` is the loosened form of."""
        meanings: _Meanings
        for last, meanings in self._automaton.iter(loose):
            end = last + 1
            for term, rule in meanings:
                start = end - len(term)
                if views.confirms(strict[start:end], term):
                    yield start, end, rule


def _edges(pieces: list[str]) -> set[int]:
    """The offsets in the joined text between which whole words stand."""
    edges = {0}
    offset = 0
    for piece in pieces:
        offset += len(piece)
        edges.add(offset)
    return edges


def _spelled(start: int, end: int, edges: set[int]) -> bool:
    """Whether a term made of whole words is one word, or long enough, or has each letter apart."""
    inner = sum(offset in edges for offset in range(start + 1, end))
    return inner == 0 or end - start > SHORT or inner == end - start - 1


def _gravity(category: str) -> int:
    return GRAVITY.index(category) if category in GRAVITY else len(GRAVITY)


def _phrases(of_words: Iterable[tuple[str, ...]]) -> re.Pattern[str] | None:
    found = sorted((r"\s+".join(map(re.escape, words)) for words in of_words), key=len, reverse=True)
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(found)})(?![^\W_])") if found else None
