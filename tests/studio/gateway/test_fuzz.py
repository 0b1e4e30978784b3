"""Whatever is sent: a reply in OpenAI's shape or an accepted video, never an error of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.gateway.parts import Gateway

FIELDS = ("prompt", "model", "seconds", "size", "tier", "seed", "steps", "negative_prompt", "guidance_scale")

# Surrogates are text that JSON can carry and UTF-8 can't.
texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
plausible = {
    "prompt": texts,
    "model": st.sampled_from(["MOCHI1", "LTX2", "sora-2"]),
    "seconds": st.sampled_from(["1", 2, 3.5, "4.0", 1e308, -0.0, "1e400"]),
    "size": st.sampled_from(["64x64", "0x0", "99999x1", "\uff16\uff14x64", "16x16"]),
    "seed": st.integers(-(2**70), 2**70) | st.sampled_from(["1_0", "\u0663", " 5", "+5"]),
    "steps": st.integers(-3, 60) | st.floats(),
}
names = st.sampled_from((*FIELDS, "input_reference"))
bodies = st.dictionaries(names, values) | st.fixed_dictionaries({}, optional=plausible)

fuzzing = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _check(response: Any) -> None:
    body = response.json()
    if response.status_code == 200:
        assert body["object"] == "video"
    else:
        assert 400 <= response.status_code < 500
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert len(response.text) < 1000


@pytest.fixture
def generous(gateway: Gateway) -> Gateway:
    gateway.limiter_clock.now += 1e9
    return gateway


@fuzzing
@given(body=bodies)
def test_any_json_object(generous: Gateway, body: dict[str, Any]) -> None:
    generous.limiter_clock.now += 60
    _check(generous.client().post("/v1/videos", content=json.dumps(body)))


@fuzzing
@given(body=st.binary(max_size=300) | texts.map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes(generous: Gateway, body: bytes) -> None:
    generous.limiter_clock.now += 60
    for kind in ("application/json", "multipart/form-data; boundary=a", "application/x-www-form-urlencoded"):
        _check(generous.client().post("/v1/videos", content=body, headers={"content-type": kind}))
