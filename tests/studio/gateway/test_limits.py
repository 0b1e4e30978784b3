"""What is left to a key stands in every reply to it, as OpenAI writes it."""

from __future__ import annotations

import re

import pytest

from rushes.studio.gateway.limits import duration
from studio.gateway.parts import Gateway

GOOD = {"prompt": "a red ball", "model": "MOCHI1"}
VIDEOS = ("x-ratelimit-limit-videos", "x-ratelimit-remaining-videos")
REQUESTS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0201, "21ms"),
        (1, "1s"),
        (7.2, "8s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86_399, "23h59m59s"),
    ],
)
def test_durations_are_written_as_openais(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_requests_and_videos_are_counted_down(gateway: Gateway) -> None:
    _, secret = gateway.keys.create("small", rate_limit_per_minute=3, quota_per_day=2, credits=100)
    client = gateway.client(secret)
    fresh = client.get("/v1/videos").headers
    assert tuple(fresh[name] for name in REQUESTS) == ("3", "3", "0s")
    assert VIDEOS[0] not in fresh
    seen = []
    for _ in range(4):
        headers = client.post("/v1/videos", json=GOOD).headers
        seen.append(tuple(headers[name] for name in (*REQUESTS[1:], *VIDEOS)))
        assert re.fullmatch(r"(\d+h)?(\d+m)?\d+s", headers["x-ratelimit-reset-videos"])
    assert seen == [
        ("2", "20s", "2", "1"),
        ("1", "40s", "2", "0"),
        ("0", "1m0s", "2", "0"),
        ("0", "1m0s", "2", "0"),
    ]
    refused = client.post("/v1/videos", json=GOOD)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "20")
    gateway.limiter_clock.now += 20
    assert client.get("/v1/models").headers["x-ratelimit-remaining-requests"] == "1"


def test_errors_tell_what_is_left_too(gateway: Gateway) -> None:
    client = gateway.client()
    for response in (client.post("/v1/videos", json={}), client.get("/v1/videos/video_1")):
        assert response.status_code in {400, 404}
        assert response.headers["x-ratelimit-limit-requests"] == "600"


def test_a_stranger_is_told_nothing(gateway: Gateway) -> None:
    for response in (
        gateway.client("rk_" + "x" * 32).post("/v1/videos", json=GOOD),
        gateway.client().get("/healthz"),
    ):
        assert not [name for name in response.headers if name.startswith("x-ratelimit")]
