"""Three ways of reading the same text, because people who want a word past a filter don't write it plainly.

- plain: compatibility forms (fullwidth, mathematical letters) and case folded, invisible characters gone;
- folded: besides, accents dropped, look-alike letters of other scripts and digits that stand for letters read so;
- squeezed: the folded words with nothing between them, but with the places where words begin and end kept, so that
  letters spelled out one by one can be joined without finding words inside other words.

Symbols are read twice, once as letters ("@" is "a") and once as punctuation (a closing "!" belongs to no word).
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BARRIER: Final = "\x00"  # a word that matches nothing and that nothing is joined over
AMBIGUOUS: Final = "1"  # "1", "!" and "|" stand for "i" as well as for "l"
EITHER: Final = frozenset("il")

_DIGITS: Final = {"0": "o", "1": AMBIGUOUS, "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g"}
_SYMBOLS: Final = {"@": "a", "$": "s", "!": AMBIGUOUS, "|": AMBIGUOUS, "+": "t", "€": "e", "£": "l", "¢": "c"}
_LOOKALIKES: Final = {  # by the letter they are taken for: Cyrillic, Greek, Armenian and Latin without decomposition
    "a": "\u0430\u03b1\u0251\u1d00",
    "b": "\u0432\u03b2\u044c\u0299",
    "c": "\u0441\u03f2\u1d04",
    "d": "\u0501\u0111\u00f0\u0257\u1d05",
    "e": "\u0435\u0454\u03b5\u025b\u0259\u1d07",
    "f": "\u0192",
    "g": "\u0261\u0262\u0563",
    "h": "\u04bb\u043d\u0570\u029c\u0127",
    "i": "\u0456\u03b9\u0131\u0269\u026a",
    "j": "\u0458\u029d\u1d0a",
    "k": "\u043a\u03ba\u1d0b",
    "l": "\u04cf\u0142\u029f",
    "m": "\u043c\u1d0d",
    "n": "\u043f\u03b7\u0578\u0274",
    "o": "\u043e\u03bf\u03c3\u0585\u00f8\u1d0f",
    "p": "\u0440\u03c1\u1d18",
    "q": "\u051b",
    "r": "\u0433\u0280",
    "s": "\u0455\ua731",
    "t": "\u0442\u03c4\u1d1b\u0167",
    "u": "\u03c5\u057d\u1d1c",
    "v": "\u03bd\u0475\u1d20",
    "w": "\u051d\u03c9\u1d21",
    "x": "\u0445\u03c7",
    "y": "\u0443\u03b3\u04af\u028f",
    "z": "\u1d22",
}
_LETTERS: Final = {alike: letter for letter, all_alike in _LOOKALIKES.items() for alike in all_alike}
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")  # blank, yet not of category Cf
_APOSTROPHES: Final = frozenset("'\u2019\u2018\u02bc`\u00b4")
APOSTROPHE: Final = "'"
_LOOSE: Final = str.maketrans({AMBIGUOUS: "i", "l": "i"})
# Negative circled and squared capitals and flag letters, which Unicode doesn't decompose.
_LETTERS.update({chr(start + i): chr(97 + i) for start in (0x1F150, 0x1F170, 0x1F1E6) for i in range(26)})


class _Table(dict[int, str | None]):
    """A translation table that works a character out when it first comes by."""

    def __init__(self, work_out: Callable[[str], str | None]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, code: int) -> str | None:
        value = self[code] = self._work_out(chr(code))
        return value


def _visible(char: str) -> str | None:
    code = ord(char)
    hidden = (
        unicodedata.category(char) == "Cf"
        or char in _INVISIBLE
        or 0x180B <= code <= 0x180F  # noqa: PLR2004 - Mongolian variation selectors
        or 0xFE00 <= code <= 0xFE0F  # noqa: PLR2004 - variation selectors
        or 0xE0100 <= code <= 0xE01EF  # noqa: PLR2004 - their supplement
    )
    if hidden:
        return None
    return " " if char == BARRIER else char


def _word(char: str) -> str:
    """What `char` is to words: part of one, a word of its own, or a gap."""
    if char == BARRIER:
        return char
    if unicodedata.category(char)[0] not in "LMN":
        return " "
    return f" {char} " if _unspaced(char) else char


def _unspaced(char: str) -> bool:
    """Whether its script (Thai to Myanmar, Khmer, Kana, Han) writes no spaces: there every character is a word."""
    code = ord(char)
    spans = ((0x0E00, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0x20000, 0x3FFFF))
    return any(first <= code <= last for first, last in spans)


def _as_letter(char: str) -> str | None:
    if unicodedata.category(char) in ("Mn", "Me") and unicodedata.name(char, "").startswith("COMBINING"):
        return None  # accents, and the strokes laid over letters
    if char in _APOSTROPHES:
        return APOSTROPHE
    return _LETTERS.get(char) or _DIGITS.get(char) or _word(char)


def _symbol_as_letter(char: str) -> str | None:
    return _SYMBOLS.get(char) or _as_letter(char)


_VISIBLE: Final = _Table(_visible)
_WORDS: Final = _Table(_word)
_SYMBOL: Final = re.compile("[" + re.escape("".join(_SYMBOLS)) + "]")
# 455 is a number and no word in disguise. Where symbols are letters, one beside it makes it a word after all.
_PUNCTUATED: Final = (re.compile(r"(?<![^\W_])\d{2,}(?![^\W_])"), _Table(_as_letter))
_SPELLED: Final = (
    re.compile(rf"(?<![^\W_])(?<!{_SYMBOL.pattern})\d{{2,}}(?![^\W_])(?!{_SYMBOL.pattern})"),
    _Table(_symbol_as_letter),
)


def canonical(text: str) -> str:
    """`text` with case and compatibility forms folded and without characters that can't be seen."""
    if text.isascii():
        return text.casefold().replace(BARRIER, " ")
    text = unicodedata.normalize("NFKC", text).casefold().translate(_VISIBLE)
    return unicodedata.normalize("NFKC", text)


def words(canonical_text: str) -> list[str]:
    """Its words, without what stands between them: the plain view."""
    return canonical_text.translate(_WORDS).split()


def folded(canonical_text: str) -> list[str]:
    """The text folded, once for each way to read its symbols. Apostrophes are still in it."""
    text = canonical_text if canonical_text.isascii() else unicodedata.normalize("NFKD", canonical_text)
    ways = (_PUNCTUATED, _SPELLED) if _SYMBOL.search(text) else (_PUNCTUATED,)
    return [numbers.sub(f" {BARRIER} ", text).translate(table) for numbers, table in ways]


def folded_term(canonical_text: str) -> str:
    """A term folded: as a prompt is, but its numbers stay, because a list may name them."""
    return unicodedata.normalize("NFKD", canonical_text).translate(_PUNCTUATED[1])


def spaced(folded_text: str) -> list[str]:
    """The folded view: an apostrophe ends a word, so that a genitive hides nothing."""
    return folded_text.replace(APOSTROPHE, " ").split()


def joined(folded_text: str) -> list[str]:
    """What the squeezed view joins: an apostrophe is nothing, or "wife's ex" would be spelling something out."""
    return folded_text.replace(APOSTROPHE, "").split()


def sentence(of_words: list[str]) -> str:
    """Words with one space around each, so that a search for " word " finds whole words only."""
    return f" {' '.join(of_words)} "


def loosened(text: str) -> str:
    """`text` with the letters that "1" may stand for made one, which is what is searched."""
    return text.translate(_LOOSE)


def confirms(text: str, term: str) -> bool:
    """Whether `text`, found by its loosened form, really reads `term`: only "1" may be either letter."""
    return text == term or all(
        there == meant or (there == AMBIGUOUS and meant in EITHER)
        for there, meant in zip(text, term, strict=True)
    )
