"""What must not be logged can't be: no way of rendering shows the value."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.catalog import NEVER_LOGGED, Prompt, Secret, prompt_hash


@given(st.text(min_size=5))
def test_a_prompt_renders_as_a_keyed_hash(text: str) -> None:
    prompt = Prompt(text)
    for shown in (str(prompt), repr(prompt), f"{prompt}", f"{prompt:>40}", json.dumps(prompt, default=str)):
        assert prompt_hash(text) in shown
        assert text not in shown or text in f"Prompt(prompt:{prompt_hash(text)})" + " " * 40
    assert prompt.reveal() == text


def test_the_hash_depends_on_the_key() -> None:
    assert prompt_hash("a red ball", b"one") != prompt_hash("a red ball", b"two")
    assert prompt_hash("a red ball") == prompt_hash("a red ball")


def test_the_hash_is_hmac_sha256() -> None:
    # Made with `printf 'a cat' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0001...1f`.
    assert prompt_hash("a cat", bytes(range(32))) == "166e130ce1198869"


def test_a_secret_shows_its_last_four_characters_if_it_is_long_enough() -> None:
    assert str(Secret("rk_0123456789abcdef")) == "…cdef"
    assert str(Secret("hunter2")) == "…"


def test_a_sensitive_value_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not to be pickled"):
        pickle.dumps(Prompt("a red ball"))


def test_every_row_has_a_type_that_hides_it() -> None:
    for row in NEVER_LOGGED:
        shown = repr(row.type("0123456789-canary-0123456789"))  # type: ignore[arg-type]  # any value must be hidden
        assert "canary" not in shown
