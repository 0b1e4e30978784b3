"""The last gate: shielded values and credentials are found wherever they hide, and nothing else is touched."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from rushes.catalog import Prompt
from rushes.sdk.redaction import redact, redacted_text, shield


@given(prompt=st.text(min_size=4), before=st.text(), after=st.text())
def test_a_shielded_text_is_found_in_any_surroundings(prompt: str, before: str, after: str) -> None:
    with shield(Prompt(prompt)):
        shown = redacted_text(before + prompt + after)
        assert prompt not in shown.replace(str(Prompt(prompt)), "")
    assert redacted_text("a plain sentence") == "a plain sentence"


def test_it_is_found_at_any_depth() -> None:
    with shield(Prompt("a red ball")):
        shown = redact({"a": ["x a red ball y", {"b": ("a red ball",)}], "n": 3, "raw": b"frames"})
    assert "a red ball" not in repr(shown)
    assert shown["n"] == 3
    assert shown["raw"] == "content of 6 bytes"


def test_a_prompt_inside_another_leaves_nothing_of_the_longer() -> None:
    with shield(Prompt("red ball"), Prompt("red ball with secret sauce")):
        assert "secret sauce" not in redacted_text("failed on 'red ball with secret sauce'")


def test_words_that_only_sound_like_credentials_are_left_alone() -> None:
    for text in (
        "Basic configuration missing; a bearer certificate",
        "the token is short",
        "a signature style",
    ):
        assert redacted_text(text) == text


def test_a_named_tuple_is_redacted_too() -> None:
    class Pair(NamedTuple):
        prompt: str
        n: int

    with shield(Prompt("a red ball")):
        assert "a red ball" not in repr(redact(Pair("a red ball", 1)))


def test_shields_nest_and_end() -> None:
    with shield(Prompt("a red ball")):
        with shield(Prompt("a red ball")):
            pass
        assert "a red ball" not in redacted_text("a red ball")
    assert redacted_text("a red ball") == "a red ball"


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,.", max_size=200))
def test_ordinary_words_are_left_alone(text: str) -> None:
    assert redacted_text(text) == text
