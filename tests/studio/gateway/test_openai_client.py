"""The official client works unchanged: what it sends is understood, what it gets it can read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import openai
import pytest

from rushes.studio.jobs import Job, JobState
from studio.gateway.parts import Gateway, Renderer

# The client calls its own videos API deprecated; the API is what many services speak.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

SHORT = {"seconds": "1", "size": "64x48"}


def _content(job: Job) -> bytes:
    return f"video {job.id} ".encode() * 40_000


@pytest.fixture
def client(gateway: Gateway, address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=address, api_key=gateway.secret, max_retries=0) as client:
        yield client


def test_a_video_from_submission_to_deletion(client: openai.OpenAI, gateway: Gateway) -> None:
    with Renderer(gateway, _content):
        video = client.videos.create_and_poll(
            prompt="a red ball",
            model="MOCHI1",
            seconds="2",  # type: ignore[arg-type] # the models' own durations
            size="128x64",  # type: ignore[arg-type] # and sizes
            extra_body={
                "tier": "standard",
                "seed": 5,
                "steps": 4,
                "guidance_scale": 3.5,
                "negative_prompt": "blurry",
            },
        )
    job = gateway.job(video.id)
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.model, video.seconds, video.size, video.prompt) == ("MOCHI1", "2", "128x64", "a red ball")
    assert video.object == "video"
    assert video.created_at == job.accepted_ns // 10**9
    assert video.completed_at is not None
    assert (job.tier, job.seed, job.steps, job.guidance_scale) == ("standard", 5, 4, 3.5)
    assert (job.width, job.height, job.num_frames, job.credits_charged) == (128, 64, 49, 4)
    assert gateway.store.prompt(job.id).negative == "blurry"
    content = client.videos.download_content(video.id)
    assert content.read() == _content(job)
    with client.videos.with_streaming_response.download_content(video.id) as streamed:
        assert b"".join(streamed.iter_bytes()) == _content(job)
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (video.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError, match="no video"):
        client.videos.retrieve(video.id)
    assert gateway.store.get(video.id) is None
    assert not any(path.is_file() for path in gateway.folder.parent.joinpath("videos").rglob("*"))


def test_a_failure_is_told_as_openai_tells_it(client: openai.OpenAI, gateway: Gateway) -> None:
    with Renderer(gateway, _content):
        video = client.videos.create_and_poll(prompt="a red ball", model="MOCHI1", extra_body={"seed": 13})
    assert video.status == "failed"
    assert video.error is not None
    assert (video.error.code, video.error.message) == ("out_of_memory", "too large")
    with pytest.raises(openai.ConflictError, match="has no content: it failed"):
        client.videos.download_content(video.id)


def test_all_pages_of_the_list_are_walked(client: openai.OpenAI) -> None:
    ids = [client.videos.create(prompt=f"ball {n}", model="LTX2").id for n in range(5)]
    listed = [video.id for video in client.videos.list(limit=2)]
    assert listed == ids[::-1]
    assert [video.id for video in client.videos.list(limit=2, order="asc", after=ids[2])] == ids[3:]


def test_the_errors_are_the_clients_own_classes(client: openai.OpenAI, gateway: Gateway) -> None:
    with pytest.raises(openai.AuthenticationError) as wrong:
        client.with_options(api_key="rk_" + "x" * 28 + "tail").videos.list()
    assert wrong.value.code == "invalid_api_key"
    assert "tail" in wrong.value.message
    assert "xx" not in wrong.value.message
    with pytest.raises(openai.BadRequestError) as unknown:
        client.videos.create(prompt="x", model="sora-2")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert "LTX2, MOCHI1" in unknown.value.message
    with pytest.raises(openai.PermissionDeniedError, match="premium"):
        client.videos.create(prompt="x", model="LTX2", extra_body={"tier": "realtime"})
    with pytest.raises(openai.BadRequestError, match="the picture is none of PNG, JPEG, WEBP"):
        client.videos.create(prompt="x", model="LTX2", input_reference=b"an image")
    gateway.keys.revoke(gateway.key.id)
    with pytest.raises(openai.AuthenticationError):
        client.videos.list()


def test_a_trace_id_comes_back_and_a_traceparent_is_kept(client: openai.OpenAI, gateway: Gateway) -> None:
    response = client.videos.with_raw_response.create(
        prompt="x",
        model="LTX2",
        extra_headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"},
    )
    job = gateway.job(response.parse().id)
    assert response.headers["x-trace-id"] == job.trace_id == "ab" * 16
    assert job.parent_span_id == "cd" * 8
    own = client.videos.with_raw_response.create(
        prompt="x", model="LTX2", extra_headers={"traceparent": "junk"}
    )
    assert own.headers["x-trace-id"] == gateway.job(own.parse().id).trace_id != "ab" * 16


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["LTX2", "MOCHI1"]


def test_progress_comes_step_by_step(client: openai.OpenAI, gateway: Gateway, address: str) -> None:
    video = client.videos.create(prompt="x", model="LTX2", extra_body={"steps": 4})
    headers = {"authorization": f"Bearer {gateway.secret}"}
    lines: list[dict[str, object]] = []
    with httpx.stream("GET", f"{address}/videos/{video.id}/events", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if not line.startswith("data: "):
                continue
            lines.append(json.loads(line.removeprefix("data: ")))
            if len(lines) == 1:
                gateway.start(video.id)
                gateway.store.set_progress(gateway.job(video.id), 3)
            elif len(lines) == 2:
                gateway.finish(video.id, b"video")
    assert [(line["status"], line["progress"], line["step"]) for line in lines] == [
        ("queued", 0, 0),
        ("in_progress", 75, 3),
        ("completed", 100, 3),
    ]
    assert {(line["steps"], line["total_steps"]) for line in lines} == {(4, 4)}


def test_the_asynchronous_client_works_as_well(gateway: Gateway, address: str) -> None:
    async def make() -> str:
        async with openai.AsyncOpenAI(base_url=address, api_key=gateway.secret) as client:
            videos = await asyncio.gather(
                *(client.videos.create_and_poll(prompt="x", model="LTX2") for _ in range(4))
            )
            assert {video.status for video in videos} == {"completed"}
            return (await client.videos.download_content(videos[0].id)).text[:5]

    with Renderer(gateway, _content):
        assert asyncio.run(make()) == "video"
    assert [job.state for job in gateway.store.page(gateway.key.id).jobs] == [JobState.COMPLETED] * 4
