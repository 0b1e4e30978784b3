"""The token in front of a control room that other machines can reach."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.web.token import authorized

TOKEN = "s3cret-tökén"


def _basic(text: bytes) -> str:
    return f"Basic {base64.b64encode(text).decode()}"


@pytest.mark.parametrize(
    "header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", _basic(f"anybody:{TOKEN}".encode())]
)
def test_the_token_is_let_in(header: str) -> None:
    assert authorized(header, TOKEN)


@given(st.text() | st.binary().map(_basic) | st.text().map(lambda t: f"Bearer {t}"))
def test_anything_else_is_not(header: str) -> None:
    if TOKEN not in header:
        assert not authorized(header, TOKEN)
