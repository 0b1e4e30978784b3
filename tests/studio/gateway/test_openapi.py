"""The API's description tells the truth: schemathesis asks for all of it, and for what it forbids."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route

from studio.gateway.parts import Gateway


@pytest.fixture
def described(gateway: Gateway) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", gateway.app)


@pytest.fixture
def videos(gateway: Gateway) -> list[str]:
    """A waiting, a running, a finished, a failed and a cancelled one."""
    client = gateway.client()
    made = [
        client.post("/v1/videos", json={"prompt": "a ball", "model": "LTX2"}).json()["id"] for _ in range(5)
    ]
    for video_id in made[1:3]:
        gateway.start(video_id)
    gateway.finish(made[2], b"video" * 100)
    gateway.store.fail(made[3], code="oom", message="too large", reason="oom")
    gateway.store.cancel(made[4])
    return made


PLAIN = [("GET", "/v1/models"), ("GET", "/openapi.json"), ("GET", "/healthz"), ("GET", "/readyz")]
WITH_PARAMETERS = [
    ("POST", "/v1/videos"),
    ("GET", "/v1/videos"),
    ("GET", "/v1/videos/{video_id}"),
    ("DELETE", "/v1/videos/{video_id}"),
    ("GET", "/v1/videos/{video_id}/content"),
    ("GET", "/v1/videos/{video_id}/events"),
]
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.mark.parametrize(
    ("call", "mode"),
    [(call, mode) for call in WITH_PARAMETERS for mode in (POSITIVE, NEGATIVE)]
    + [(call, POSITIVE) for call in PLAIN],
)
def test_every_reply_is_as_described(
    gateway: Gateway, videos: list[str], described: Any, call: tuple[str, str], mode: GenerationMode
) -> None:
    method, path = call
    cases = described[path][method].as_strategy(generation_mode=mode)
    # The events of a video that is not at its end do not end.
    known = videos[2:] if path.endswith("/events") else videos

    @settings(max_examples=20, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases, video_id=st.none() | st.sampled_from(known))
    def ask(case: Any, video_id: str | None) -> None:
        gateway.limiter_clock.now += 3600
        if video_id is not None and mode is POSITIVE and "video_id" in case.path_parameters:
            case.path_parameters["video_id"] = video_id
        # A case whose fault is that it brings no key is sent without one.
        keyed = mode is POSITIVE or any(name.lower() == "authorization" for name in case.headers or {})
        case.call_and_validate(
            headers={"Authorization": f"Bearer {gateway.secret}"} if keyed else {},
            # Each model has limits of its own, finer than the description's.
            excluded_checks=[positive_data_acceptance],
        )

    ask()


def test_the_description_has_every_route(gateway: Gateway, described: Any) -> None:
    routes = {
        (method, route.path)
        for route in gateway.app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert routes == set(PLAIN + WITH_PARAMETERS)
    assert routes == {
        (method.upper(), path)
        for path, methods in described.raw_schema["paths"].items()
        for method in methods
        if method != "parameters"
    }
