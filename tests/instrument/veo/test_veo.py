"""Videos from Google's API: the real google-genai client against a local server that answers in its shapes."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.auth import exceptions as auth
from google.genai import types

from instrument.veo.api import KEY, MODEL, VIDEO, Answer, Api, error, running, serve
from rushes.instrument.veo import (
    Failure,
    Stage,
    VeoCancelled,
    VeoClient,
    VeoError,
    VeoRequest,
    VeoResult,
)
from rushes.instrument.veo.failure import of_error

PROMPT = "canary prompt: a heron of quartz"
REQUEST = VeoRequest(
    MODEL, PROMPT, negative_prompt="canary blur", seconds=8, aspect_ratio="16:9", resolution="720p"
)
EPOCH_S = 1_763_900_000
VERTEX_ONLY = int(genai.__version__.partition(".")[0]) >= 3


class Time:
    """A clock that only waiting moves, an event to cancel with, and a telemetry that keeps what it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.cancel_at = float("inf")
        self.stages: list[Stage] = []

    def clock(self) -> float:
        return self.now

    def clock_ns(self) -> int:
        return int((EPOCH_S + self.now) * 1e9)

    def is_set(self) -> bool:
        return self.now >= self.cancel_at

    def wait(self, timeout: float) -> bool:
        self.waits.append(timeout)
        self.now += timeout
        return self.is_set()

    def stage_ended(self, stage: Stage) -> None:
        self.stages.append(stage)


@contextmanager
def _platform(*, vertex: bool) -> Iterator[tuple[Api, VeoClient, Time]]:
    with serve(vertex=vertex) as api:
        options = types.HttpOptions(base_url=api.url)
        google = genai.Client(vertexai=vertex, api_key=KEY, http_options=options)
        time = Time()
        try:
            yield api, VeoClient(google, telemetry=time, clock=time.clock, clock_ns=time.clock_ns), time
        finally:
            google.close()


@pytest.fixture(params=["vertex", "developer"])
def platform(request: pytest.FixtureRequest) -> Iterator[tuple[Api, VeoClient, Time]]:
    if request.param == "developer" and VERTEX_ONLY:
        pytest.skip(f"google-genai {genai.__version__} makes videos with Vertex AI only")
    with _platform(vertex=request.param == "vertex") as made:
        yield made


@pytest.fixture
def developer() -> Iterator[tuple[Api, VeoClient, Time]]:
    if VERTEX_ONLY:
        pytest.skip(f"google-genai {genai.__version__} makes videos with Vertex AI only")
    with _platform(vertex=False) as made:
        yield made


Platform = tuple[Api, VeoClient, Time]


def _failure(platform: Platform, tmp_path: Path) -> Failure:
    _, client, time = platform
    with pytest.raises(VeoError) as raised:
        client.generate(REQUEST, tmp_path / "video.mp4", cancel=time)
    assert list(tmp_path.iterdir()) == []
    text = "".join(traceback.format_exception(raised.value))
    assert "canary" not in text.lower()
    assert raised.value.__cause__ is raised.value.__context__ is None
    return raised.value.failure


def test_a_video_is_submitted_awaited_and_stored(platform: Platform, tmp_path: Path) -> None:
    api, client, time = platform
    api.poll = [running(), running(), api.done()]
    path = tmp_path / "video.mp4"
    assert client.generate(REQUEST, path, cancel=time) == VeoResult(api.operation, path, len(VIDEO), 3)
    assert path.read_bytes() == VIDEO
    assert list(tmp_path.iterdir()) == [path]
    assert time.waits == [10.0, 10.0]
    kind, sent = api.asked[0]
    assert kind == "submit"
    assert sent["instances"] == [{"prompt": PROMPT}]
    assert sent["parameters"]["durationSeconds"] == 8
    assert sent["parameters"]["negativePrompt"] == "canary blur"
    assert sent["parameters"]["aspectRatio"] == "16:9"
    assert api.keys == {KEY}


def test_each_stage_is_told_with_its_time_and_without_the_prompt(platform: Platform, tmp_path: Path) -> None:
    api, client, time = platform
    api.poll = [running(), api.done()]
    client.generate(REQUEST, tmp_path / "video.mp4", cancel=time)
    assert [stage.name for stage in time.stages] == ["submit", "wait", "download"]
    _, wait, download = time.stages
    assert (wait.start_ns, wait.end_ns) == (EPOCH_S * 10**9, (EPOCH_S + 10) * 10**9)
    assert wait.attributes == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.output.type": "video",
        "gen_ai.provider.name": "gcp.vertex_ai" if api.vertex else "gcp.gemini",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.id": "op1",
        "polls": 2,
    }
    assert (download.attributes["size_bytes"], download.attributes["attempts"]) == (len(VIDEO), 1)
    assert "canary" not in str(time.stages).lower()


def test_an_operation_is_taken_up_again_by_its_name(platform: Platform, tmp_path: Path) -> None:
    api, client, _ = platform
    operation = client.submit(REQUEST)
    client.fetch(operation, tmp_path / "video.mp4", model=MODEL)
    assert (tmp_path / "video.mp4").read_bytes() == VIDEO
    assert api.count("submit") == 1


def test_a_used_up_quota_says_when_to_come_back(platform: Platform, tmp_path: Path) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}
    platform[0].submit = [error(429, "RESOURCE_EXHAUSTED", PROMPT, details=[{"@type": "x"}, info])]
    failure = _failure(platform, tmp_path)
    assert (failure.reason, failure.code, failure.retry_after_s) == (
        "provider",
        "provider_quota_exceeded",
        37.5,
    )
    assert failure.transient
    assert platform[0].count("submit") == 1
    assert platform[2].stages[0].attributes["error.type"] == "provider_quota_exceeded"
    assert platform[2].stages[0].failure == failure


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("Sun, 23 Nov 2025 12:14:20 GMT", 60.0),
        ("Sun, 23 Nov 2025 12:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None, tmp_path: Path) -> None:
    with _platform(vertex=True) as platform:
        platform[0].submit = [error(429, "RESOURCE_EXHAUSTED", retry_after=header)]
        assert _failure(platform, tmp_path).retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "text", "message", "expected"),
    [
        (400, "INVALID_ARGUMENT", f"{PROMPT} violates Google's Responsible AI practices",
         ("safety_block", "content_policy_violation", False)),
        (400, "INVALID_ARGUMENT", f"durationSeconds out of bound: {PROMPT}",
         ("provider", "provider_invalid_request", False)),
        (401, "UNAUTHENTICATED", f"API key not valid: {KEY}", ("provider", "provider_unauthorized", False)),
        (403, "PERMISSION_DENIED", KEY, ("provider", "provider_unauthorized", False)),
        (404, "NOT_FOUND", "no such model", ("provider", "provider_not_found", False)),
        (500, "INTERNAL", PROMPT, ("provider", "provider_unavailable", True)),
        (503, "UNAVAILABLE", PROMPT, ("provider", "provider_unavailable", True)),
    ],
)  # fmt: skip
def test_what_a_refusal_means(
    status: int, text: str, message: str, expected: tuple[str, str, bool], tmp_path: Path
) -> None:
    with _platform(vertex=True) as platform:
        platform[0].submit = [error(status, text, message)]
        failure = _failure(platform, tmp_path)
    assert (failure.reason, failure.code, failure.transient) == expected
    assert KEY not in failure.message


def test_a_page_instead_of_json_is_a_failure_of_the_provider(platform: Platform, tmp_path: Path) -> None:
    platform[0].submit = [Answer(502, b"<html>Bad Gateway</html>")]
    assert _failure(platform, tmp_path).code == "provider_unavailable"


def test_errors_while_waiting_are_waited_out(platform: Platform, tmp_path: Path) -> None:
    api, client, time = platform
    api.poll = [
        error(500, "INTERNAL"),
        error(429, "RESOURCE_EXHAUSTED", retry_after="45"),
        Answer(body=b"["),
        api.done(),
    ]
    assert client.generate(REQUEST, tmp_path / "video.mp4", cancel=time).polls == 4
    assert time.waits == [10.0, 45.0, 10.0]
    assert api.count("submit") == 1


def test_an_operation_that_is_gone_is_not_asked_for_again(platform: Platform, tmp_path: Path) -> None:
    platform[0].poll = [running(), error(404, "NOT_FOUND")]
    assert _failure(platform, tmp_path).code == "provider_not_found"
    assert platform[0].count("poll") == 2


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (
            3,
            f"{PROMPT}: usage guidelines. Support codes: 58061214",
            ("safety_block", "content_policy_violation"),
        ),
        (8, "quota", ("provider", "provider_quota_exceeded")),
        (13, PROMPT, ("provider", "provider_unavailable")),
        (99, PROMPT, ("provider", "provider_unavailable")),
    ],
)
def test_an_operation_may_end_in_an_error(
    platform: Platform, tmp_path: Path, code: int, message: str, expected: tuple[str, str]
) -> None:
    platform[0].poll = [platform[0].failed(code, message)]
    failure = _failure(platform, tmp_path)
    assert (failure.reason, failure.code) == expected
    assert platform[0].count("poll") == 1


def test_a_filtered_video_is_a_safety_block(platform: Platform, tmp_path: Path) -> None:
    api = platform[0]
    api.poll = [api.done(raiMediaFilteredCount=1, raiMediaFilteredReasons=[PROMPT])]
    assert _failure(platform, tmp_path).reason == "safety_block"


def test_an_empty_answer_is_no_video(platform: Platform, tmp_path: Path) -> None:
    api = platform[0]
    api.poll = [api.done(raiMediaFilteredCount=0)]
    assert _failure(platform, tmp_path).code == "provider_malformed_answer"


def test_an_operation_that_never_ends_is_given_up(platform: Platform, tmp_path: Path) -> None:
    api, _, time = platform
    api.poll = [running()]
    failure = _failure(platform, tmp_path)
    assert (failure.reason, failure.code) == ("timeout", "provider_timeout")
    assert time.now == 900
    assert api.count("poll") == 91


def test_what_hid_the_end_is_named_when_it_is_given_up(platform: Platform, tmp_path: Path) -> None:
    platform[0].poll = [error(503, "UNAVAILABLE", retry_after="400")]
    assert "the last answer was provider_unavailable" in _failure(platform, tmp_path).message
    assert platform[2].waits == [400.0, 400.0]


def test_cancelling_ends_the_waiting(platform: Platform, tmp_path: Path) -> None:
    api, client, time = platform
    api.poll = [running()]
    time.cancel_at = 25
    with pytest.raises(VeoCancelled):
        client.generate(REQUEST, tmp_path / "video.mp4", cancel=time)
    assert (api.count("poll"), api.count("download")) == (3, 0)
    assert list(tmp_path.iterdir()) == []
    assert time.stages[-1].attributes["cancelled"] is True
    assert time.stages[-1].failure is None
    with pytest.raises(VeoCancelled):
        client.submit(REQUEST, cancel=time)
    assert api.count("submit") == 1


@pytest.mark.parametrize(
    "short", [Answer(body=VIDEO, cut_at=700), Answer(body=VIDEO[:700]), error(500, "INTERNAL")]
)
def test_a_broken_download_is_tried_again(developer: Platform, tmp_path: Path, short: Answer) -> None:
    api, client, time = developer
    api.download = [short, Answer(body=VIDEO)]
    client.generate(REQUEST, tmp_path / "video.mp4", cancel=time)
    assert (tmp_path / "video.mp4").read_bytes() == VIDEO
    assert time.stages[-1].attributes["attempts"] == 2


@pytest.mark.parametrize(
    ("short", "code"),
    [
        (Answer(body=VIDEO, cut_at=700), "provider_unreachable"),
        (Answer(body=VIDEO[:700]), "provider_incomplete_video"),
        (Answer(body=b""), "provider_incomplete_video"),
    ],
)
def test_half_a_video_is_never_stored(developer: Platform, tmp_path: Path, short: Answer, code: str) -> None:
    developer[0].download = [short]
    assert _failure(developer, tmp_path).code == code
    assert developer[0].count("download") == 3


def test_a_video_in_a_bucket_is_not_fetched(tmp_path: Path) -> None:
    with _platform(vertex=True) as platform:
        platform[0].poll = [platform[0].done(videos=[{"gcsUri": "gs://bucket/video.mp4"}])]
        assert "configure no output bucket" in _failure(platform, tmp_path).message


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with serve(vertex=True) as api:
        url = api.url
    google = genai.Client(vertexai=True, api_key=KEY, http_options=types.HttpOptions(base_url=url))
    with pytest.raises(VeoError) as raised:
        VeoClient(google).generate(REQUEST, tmp_path / "video.mp4")
    assert raised.value.failure.code == "provider_unreachable"
    google.close()


def test_what_only_vertex_offers_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with _platform(vertex=False) as (api, client, _):
        with pytest.raises(ValueError, match="Vertex AI only"):
            client.generate(VeoRequest(MODEL, PROMPT, seed=7), tmp_path / "video.mp4")
        assert api.asked == []
    with _platform(vertex=True) as (api, client, time):
        client.generate(VeoRequest(MODEL, PROMPT, seed=7, audio=True), tmp_path / "video.mp4")
        assert api.asked[0][1]["parameters"]["seed"] == 7
        assert time.stages[0].attributes["gen_ai.request.seed"] == 7


def test_a_request_that_google_genai_refuses_is_not_quoted(tmp_path: Path) -> None:
    with _platform(vertex=True) as platform:
        _, client, _ = platform
        wrong: Any = PROMPT
        with pytest.raises(VeoError) as raised:
            client.submit(VeoRequest(MODEL, PROMPT, seconds=wrong))
    assert raised.value.failure.code == "provider_invalid_request"
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_no_log_of_any_level_has_the_prompt_or_the_key(
    platform: Platform, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api, client, time = platform
    with caplog.at_level(logging.DEBUG):
        api.poll = [error(500, "INTERNAL", PROMPT), api.done()]
        client.generate(REQUEST, tmp_path / "video.mp4", cancel=time)
        api.submit = [error(400, "INVALID_ARGUMENT", f"{PROMPT} {KEY}")]
        with pytest.raises(VeoError):
            client.generate(REQUEST, tmp_path / "video.mp4", cancel=time)
    assert caplog.records  # the transport does log
    assert "canary" not in caplog.text.lower()
    assert "canary" not in repr(REQUEST)


def test_telemetry_that_fails_costs_no_video(platform: Platform, tmp_path: Path) -> None:
    api, _, _ = platform

    class Broken:
        def stage_ended(self, stage: Stage) -> None:
            raise RuntimeError(stage.name)

    google = genai.Client(vertexai=api.vertex, api_key=KEY, http_options=types.HttpOptions(base_url=api.url))
    VeoClient(google, telemetry=Broken()).generate(REQUEST, tmp_path / "video.mp4")
    assert (tmp_path / "video.mp4").exists()
    google.close()


@pytest.mark.skipif(not VERTEX_ONLY, reason="google-genai 2 makes videos with the Developer API too")
def test_a_key_of_the_developer_api_is_told_where_videos_are_made() -> None:
    with _platform(vertex=False) as (api, client, _):
        with pytest.raises(VeoError, match="Vertex AI only"):
            client.submit(REQUEST)
        assert api.asked == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (auth.DefaultCredentialsError, "provider_unauthorized"),
        (auth.RefreshError, "provider_unauthorized"),
        (auth.TransportError, "provider_unreachable"),
    ],
)
def test_credentials_that_are_missing_or_stale(kind: Callable[[str], Exception], code: str) -> None:
    failure = of_error(kind(KEY), now_s=0)
    assert failure is not None
    assert (failure.reason, failure.code) == ("provider", code)
    assert KEY not in failure.message
