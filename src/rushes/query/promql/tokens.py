"""A query's words with their places, as Prometheus' lexer cuts them: for saying where a query is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["NO_TEXT", "Kind", "Token", "seconds_of", "tokens", "without_raw_strings"]


class Kind(StrEnum):
    """What a word is."""

    NAME = "identifier"
    NUMBER = "number"
    DURATION = "duration"
    STRING = "string"
    OPERATOR = "operator"
    KEYWORD = "keyword"
    BRACKET = "bracket"
    END = "end of input"
    BAD = "no word"


@dataclass(frozen=True, slots=True)
class Token:
    """A word and where it begins, counted from 0. Of a bad one the text is what is wrong with it."""

    kind: Kind
    text: str
    start: int

    def __str__(self) -> str:
        """As Prometheus speaks of it."""
        match self.kind:
            case Kind.END:
                return self.kind.value
            case Kind.BRACKET:
                return f'"{self.text}"'
            case Kind.OPERATOR:
                return f"<op:{self.text.lower()}>" if self.text != "=" else '"="'
            case Kind.KEYWORD:
                return f"<{self.text.lower()}>"
            case Kind.STRING:
                escaped = self.text.replace("\\", "\\\\").replace('"', '\\"')
                return f'string "{escaped}"'
        return f'{self.kind.value} "{self.text}"'


class _Bad(Exception):  # noqa: N818  what is bad is the query
    """A word that is none: what is wrong with it, and where."""

    def __init__(self, message: str, start: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start


_KEYWORDS: Final = frozenset(
    ("by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset")
)
_SETS: Final = frozenset(("and", "or", "unless", "atan2"))
_NUMBERS: Final = frozenset(("inf", "nan"))
_DURATION: Final = r"(?:[0-9]+(?:ms|[smhdwy]))+"
_WORD: Final = re.compile(
    rf"""
    (?P<space>\s+|\#[^\n]*)
    |(?P<duration>{_DURATION}(?![0-9a-zA-Z_]))
    |(?P<number>0[xX][0-9a-fA-F]+(?![0-9a-zA-Z_]) | (?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![0-9a-zA-Z_]))
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<operator>==|!=|<=|>=|[-+*/%^<>=@])
    |(?P<bracket>[(){{}}\[\],:])
    """,
    re.VERBOSE,
)
_MATCHING: Final = re.compile(r"(?P<operator>!=|=~|!~|=)")
_NUMERIC: Final = re.compile(r"[0-9.][0-9a-zA-Z_.]*")
_ESCAPES: Final = "abfnrtv\\'\""
_DIGITS: Final = {"x": 2, "u": 4, "U": 8}
_DAY: Final = 86_400_000
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": _DAY, "w": 7 * _DAY, "y": 365 * _DAY}
_PART: Final = re.compile(r"([0-9]+)(ms|[smhdwy])")
NO_TEXT: Final = "\ufffd"  # what bytes that are no UTF-8 were read as, and in Go what they are


def seconds_of(word: Token) -> float:
    """What a number or a duration comes to."""
    if word.kind is Kind.DURATION:
        return sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(word.text)) / 1000
    hexadecimal = word.text[:2].lower() == "0x"
    return float(int(word.text, 16)) if hexadecimal else float(word.text)


def tokens(text: str) -> list[Token]:
    """All words, the end last, or the first that is none."""
    found: list[Token] = []
    try:
        _cut(text, found)
    except _Bad as bad:
        return [*found, Token(Kind.BAD, bad.message, bad.start)]
    return [*found, Token(Kind.END, "", len(text))]


def _cut(text: str, found: list[Token]) -> None:
    position, inside, depth = 0, "", 0
    while position < len(text):
        if text[position] in "\"'`":
            end = _string_end(text, position)
            found.append(Token(Kind.STRING, text[position:end], position))
            position = end
            continue
        match = (_MATCHING.match(text, position) if inside == "{" else None) or _WORD.match(text, position)
        if match is None:
            raise _bad(text, position, inside)
        kind, word = str(match.lastgroup), match.group()
        if kind == "bracket":
            inside = word if word in "{[" else "" if word in "}]" else inside
            depth += (word == "(") - (word == ")")
            if depth < 0:
                raise _Bad("unexpected right parenthesis ')'", position + 1)
        elif word == "=" and inside != "{" and text[position + 1 : position + 2] == "~":
            raise _Bad("unexpected character after '=': '~'", position)
        if kind != "space":
            if kind == "name" and word[0] == ":" and inside == "[":
                word = ":"  # between a subquery's range and its step
                kind = "bracket"
            found.append(Token(_kind(kind, word, inside), word, position))
        position += len(word)


def _kind(kind: str, word: str, inside: str) -> Kind:
    if kind != "name":
        return Kind(kind)
    lowered = word.lower()
    if inside == "{":
        return Kind.NAME
    if lowered in _SETS:
        return Kind.OPERATOR
    if lowered in _KEYWORDS:
        return Kind.KEYWORD
    return Kind.NUMBER if lowered in _NUMBERS else Kind.NAME


def _bad(text: str, position: int, inside: str) -> _Bad:
    match = _NUMERIC.match(text, position)
    if match is not None and text[position] != ".":
        return _Bad(f'bad number or duration syntax: "{match.group()}"', position)
    character = text[position]
    if inside == "{":
        return _Bad(f"unexpected character inside braces: {character!r}", position)
    if character == "!" and position + 1 < len(text):
        return _Bad(f"unexpected character after '!': {text[position + 1]!r}", position)
    if inside == "[":
        return _Bad(f"unexpected character in duration expression: {character!r}", position)
    return _Bad(f"unexpected character: {character!r}", position)


def _string_end(text: str, start: int) -> int:
    quote, position = text[start], start + 1
    while position < len(text):
        character = text[position]
        if character == quote:
            return position + 1
        if character == NO_TEXT:
            raise _Bad("invalid UTF-8 rune", start)
        if quote != "`":
            if character == "\n":
                break
            if character == "\\":
                position += _escape(text, position, quote, start)
                continue
        position += 1
    raise _Bad("unterminated raw string" if quote == "`" else "unterminated quoted string", start)


def _escape(text: str, position: int, quote: str, start: int) -> int:
    """The length of an escape sequence."""
    if position + 1 >= len(text):
        raise _Bad("escape sequence not terminated", start)
    following = text[position + 1]
    if following in _DIGITS:
        return 2 + _DIGITS[following]
    if following in "01234567":
        return 4
    if following not in _ESCAPES or (following in "'\"" and following != quote):
        raise _Bad(f"unknown escape sequence U+{ord(following):04X} {following!r}", start)
    return 2


def without_raw_strings(text: str) -> str:
    """The same query with every `raw` string in double quotes, since the parser reads escapes in raw ones too."""
    if "`" not in text:
        return text
    words = tokens(text)
    if words[-1].kind is Kind.BAD:
        return text
    for word in reversed(words):
        if word.kind is Kind.STRING and word.text[0] == "`":
            plain = word.text[1:-1].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            text = f'{text[: word.start]}"{plain}"{text[word.start + len(word.text) :]}'
    return text
