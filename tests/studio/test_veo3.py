"""VEO3 as a model of the studio: the whole way of its jobs, against a local server in the shape of Google's API."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import av
import pytest
from cryptography.fernet import Fernet
from google import genai
from opentelemetry.trace import StatusCode
from pydantic import SecretStr

from instrument.veo.api import KEY, Answer, Api, error, running, serve
from recording import Recorded
from rushes.catalog import declared_span
from rushes.settings import Veo
from rushes.studio import pipeline
from rushes.studio.cost import Device
from rushes.studio.gateway.errors import ApiError
from rushes.studio.gateway.request import parse_request
from rushes.studio.gateway.video import video_object
from rushes.studio.jobs import (
    NO_SEED,
    Job,
    JobPrompt,
    JobState,
    JobStore,
    Operations,
    Stage,
    new_job_id,
    open_database,
)
from rushes.studio.keys import KeyStore
from rushes.studio.models import veo3
from rushes.studio.outcome import Ending
from rushes.studio.provider import Provider, offer_veo
from rushes.studio.render import Tools
from rushes.studio.safety import Blocklist
from rushes.studio.shelf import Shelf
from rushes.studio.storage import Media
from studio.claiming import claim_encoding, claim_generation
from studio.google_videos import FRAMES, boxes, mp4, sends

PROMPT = "a canary-yellow heron of quartz"
VERTEX_ONLY = int(genai.__version__.partition(".")[0]) >= 3


@dataclass
class Studio:
    """One worker that renders nothing itself, its database and Google's API."""

    tools: Tools
    store: JobStore
    keys: KeyStore
    api: Api
    executor: str = "veo-0.1.00000000"

    def submit(self, prompt: str = PROMPT, *, picture: bytes | None = None, **changes: Any) -> str:
        card, _ = offer_veo(Veo(api_key=SecretStr(KEY), vertex=self.api.vertex))
        assert card is not None
        key, _ = self.keys.create("test", tier="premium", credits=1000)
        accepted = time.time_ns()
        job = Job(
            id=new_job_id(),
            key_id=key.id,
            tier="premium",
            model="VEO3",
            seconds=8,
            width=720,
            height=1280,
            num_frames=card.frames_for(8),
            fps=card.fps,
            steps=card.default_steps,
            seed=7 if self.api.vertex else NO_SEED,
            guidance_scale=card.default_guidance,
            trace_id=secrets.token_hex(16),
            root_span_id=secrets.token_hex(8),
            accepted_ns=accepted,
            credits_reserved=8,
            stages=(Stage("gateway", accepted, accepted),),
        )
        self.store.create(
            replace(job, **changes),
            key=key,
            prompt=JobPrompt(prompt, "canary blur"),
            picture=picture,
        )
        return job.id

    def encode(self, job_id: str) -> bool:
        job = claim_encoding(self.store, job_id, worker_id="veo-0", executor_id=self.executor)
        assert job is not None
        ready = pipeline.encode(job, self.tools)
        if ready:
            assert self.store.enqueue_generation(job)
        return ready

    def generate(self, job_id: str) -> Job:
        job = claim_generation(self.store, job_id, worker_id="veo-0", executor_id=self.executor)
        assert job is not None
        pipeline.generate(job, self.tools)
        return self.job(job_id)

    def job(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        assert job is not None
        return job

    def made(self, **changes: Any) -> Job:
        job_id = self.submit(**changes)
        assert self.encode(job_id)
        return self.generate(job_id)


@pytest.fixture(params=["vertex", "developer"])
def service(request: pytest.FixtureRequest) -> str:
    if request.param == "developer" and VERTEX_ONLY:
        pytest.skip(f"google-genai {genai.__version__} makes videos with Vertex AI only")
    return str(request.param)


@pytest.fixture
def studio(tmp_path: Path, recorded: Recorded, service: str) -> Iterator[Studio]:
    vertex = service == "vertex"
    engine = open_database(f"sqlite:///{tmp_path / 'studio.db'}")
    store = JobStore(engine, prompt_key=Fernet.generate_key())
    with serve(vertex=vertex) as api:
        settings = Veo(api_key=SecretStr(KEY), vertex=vertex, url=api.url, poll_s=0.01, timeout_s=30)
        with Provider(settings) as provider:
            tools = Tools(
                store=store,
                ending=Ending(engine, credit_usd=0.5),
                provider_usd_per_second=0.4,
                device=Device("cpu", "cpu", 0.0),
                shelf=Shelf("all", {}, tmp_path / "models", "cpu", sample_every=0),
                media=Media(tmp_path / "videos"),
                blocklist=Blocklist.load(),
                scratch=tmp_path / "scratch",
                worker_id="veo-0",
                hash_key=b"0" * 32,
                provider=provider,
            )
            yield Studio(tools, store, KeyStore(engine), api)
    engine.dispose()


only_vertex = pytest.mark.parametrize("service", ["vertex"])


def _file(studio: Studio, job: Job) -> Path:
    assert job.media is not None, job.error_message
    return Path(studio.tools.media.location) / job.media


def _names(recorded: Recorded) -> list[str]:
    return [span.name for span in recorded.spans.get_finished_spans()]


def test_a_video_is_ordered_once_and_delivered_as_it_came(studio: Studio, recorded: Recorded) -> None:
    video = mp4()
    sends(studio.api, video, running(), running())
    job = studio.made()
    assert job.state is JobState.COMPLETED
    assert _file(studio, job).read_bytes() == video
    assert (job.credits_charged, studio.api.count("submit"), studio.api.count("poll")) == (8, 1, 3)
    money = recorded.span("video_generation_request").attributes or {}
    assert money["rushes.compute_cost_usd"] == pytest.approx(8 * 0.4)
    assert money["rushes.revenue_usd"] == pytest.approx(8 * 0.5)
    sent = studio.api.asked[0][1]
    assert sent["instances"] == [{"prompt": PROMPT}]
    wanted = {
        "durationSeconds": 8,
        "aspectRatio": "9:16",
        "resolution": "720p",
        "negativePrompt": "canary blur",
    }
    if studio.api.vertex:
        wanted |= {"seed": 7, "generateAudio": True}
    assert {k: v for k, v in sent["parameters"].items() if k != "sampleCount"} == wanted
    assert not (studio.tools.scratch / job.id).exists()

    spans = recorded.spans.get_finished_spans()
    ids = {s.context.span_id: s.name for s in spans if s.context}
    tree = {s.name: ids.get(s.parent.span_id) if s.parent else None for s in spans}
    assert tree.keys() == {
        "video_generation_request", "rushes.encode_wait", "prompt_processing", "safety.pregen", "blocklist.check",
        "queue_wait", "scheduler.assign", "rushes.provider", "rushes.veo.submit", "rushes.veo.wait",
        "rushes.veo.download", "upload", "storage.write",
    }  # fmt: skip
    for name, parent in tree.items():
        declared = declared_span(name)
        assert declared is not None
        assert parent == declared.parent
    root = dict(recorded.span("video_generation_request").attributes or {})
    assert "steps" not in root
    assert root.get("gen_ai.request.seed") == (7 if studio.api.vertex else None)
    ratio = root["rushes.attributed_ratio"]
    assert isinstance(ratio, float)
    assert ratio > 0.9


def test_an_index_at_the_end_is_moved_to_the_front_and_the_sound_is_kept(
    studio: Studio, recorded: Recorded
) -> None:
    video = mp4(index_first=False)
    assert boxes(video).index(b"mdat") < boxes(video).index(b"moov")
    sends(studio.api, video)
    path = _file(studio, studio.made())
    order = boxes(path.read_bytes())
    assert order.index(b"moov") < order.index(b"mdat")
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
    with av.open(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 40_000
    attributes = dict(recorded.span("transcode").attributes or {})
    assert attributes["codec"] == "h264"
    assert "x264.encode" not in _names(recorded)


@only_vertex
def test_a_blocked_prompt_is_never_sent(studio: Studio) -> None:
    job_id = studio.submit("a video of child porn")
    assert not studio.encode(job_id)
    assert studio.job(job_id).failure_reason == "safety_block"
    assert studio.api.asked == []


def test_a_picture_is_handed_over_with_the_prompt(studio: Studio) -> None:
    sends(studio.api, mp4())
    job_id = studio.submit(picture=b"\x89PNG the video begins with this")
    assert studio.encode(job_id)
    studio.generate(job_id)
    ((_, sent),) = [asked for asked in studio.api.asked if asked[0] == "submit"]
    image = sent["instances"][0]["image"]
    assert base64.b64decode(image["bytesBase64Encoded"]) == b"\x89PNG the video begins with this"
    assert image["mimeType"] == "image/png"
    assert studio.job(job_id).state is JobState.COMPLETED


class Refusal(NamedTuple):
    stage: str
    answer: Answer | None
    reason: str
    code: str


@only_vertex
@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("submit", error(429, "RESOURCE_EXHAUSTED"), "provider", "provider_quota_exceeded"),
        Refusal("submit", error(403, "PERMISSION_DENIED", KEY), "provider", "provider_unauthorized"),
        Refusal("submit", error(400, "INVALID_ARGUMENT", PROMPT), "provider", "provider_invalid_request"),
        Refusal("poll", None, "safety_block", "content_policy_violation"),
        Refusal("poll", running(), "timeout", "provider_timeout"),
    ],
    ids=lambda refusal: refusal.code,
)
def test_what_the_provider_refuses_fails_the_job_for_its_reason(
    studio: Studio, recorded: Recorded, refusal: Refusal
) -> None:
    stage, answer, reason, code = refusal
    setattr(studio.api, stage, [answer or studio.api.failed(3, f"{PROMPT} violates the usage guidelines")])
    settings = Veo(api_key=SecretStr(KEY), vertex=True, url=studio.api.url, poll_s=0.01, timeout_s=0.2)
    with Provider(settings) as impatient:
        studio.tools = replace(studio.tools, provider=impatient)
        job = studio.made()
    assert (job.state, job.failure_reason, job.error_code) == (JobState.FAILED, reason, code)
    assert job.credits_charged == 0
    assert "canary" not in (job.error_message or "")
    assert studio.api.count("submit") == 1
    assert recorded.span("rushes.provider").status.status_code is StatusCode.ERROR
    assert recorded.span("video_generation_request").attributes["error.type"] == reason  # type: ignore[index]


@only_vertex
def test_an_order_that_was_refused_for_want_of_quota_is_sent_again(studio: Studio) -> None:
    studio.api.submit = [error(429, "RESOURCE_EXHAUSTED")]
    studio.tools = replace(studio.tools, max_retries=1)
    back = studio.made()
    assert (back.state, back.retries) == (JobState.WAITING, 1)
    studio.api.submit = []
    sends(studio.api, mp4())
    job = studio.generate(back.id)
    assert job.state is JobState.COMPLETED, job.error_message
    assert studio.api.count("submit") == 2


@only_vertex
def test_an_order_that_may_have_arrived_is_not_sent_again(studio: Studio) -> None:
    studio.api.submit = [error(500, "INTERNAL")]
    studio.tools = replace(studio.tools, max_retries=1)
    back = studio.made()
    assert back.state is JobState.WAITING
    job = studio.generate(back.id)
    assert (job.state, job.error_code) == (JobState.FAILED, "provider_order_unknown")
    assert studio.api.count("submit") == 1


@only_vertex
def test_a_file_that_is_no_video_fails_the_job(studio: Studio, recorded: Recorded) -> None:
    box = (20).to_bytes(4, "big")
    sends(studio.api, b"".join((box + kind).ljust(20, b"\0") for kind in (b"ftyp", b"moov", b"mdat")))
    job = studio.made()
    assert (job.failure_reason, job.error_code) == ("provider", "provider_malformed_answer")


@only_vertex
def test_a_cancellation_ends_the_waiting(studio: Studio, recorded: Recorded) -> None:
    job_id = studio.submit()
    studio.encode(job_id)
    polled = []

    def answer(kind: str) -> Answer:
        polled.append(kind)
        if polled.count("poll") == 2:
            studio.store.cancel(job_id)
        return Answer(body={"name": studio.api.operation})

    studio.api.answer = answer  # type: ignore[method-assign]
    job = studio.generate(job_id)
    assert (job.state, job.credits_charged) == (JobState.CANCELLED, 0)
    assert polled == ["submit", "poll", "poll"]
    wait = recorded.span("rushes.veo.wait")
    assert wait.attributes["cancelled"] is True  # type: ignore[index]
    assert recorded.span("rushes.provider").status.status_code is StatusCode.UNSET
    assert not (studio.tools.scratch / job_id).exists()


@only_vertex
def test_another_worker_fetches_what_was_ordered(studio: Studio, recorded: Recorded) -> None:
    """The worker ends while it waits, as it would on SIGTERM or kill -9; the reaper's look gives the job on."""
    job_id = studio.submit()
    studio.encode(job_id)
    stopping = threading.Event()
    studio.tools = replace(studio.tools, stopping=stopping)
    inner = studio.api.answer

    def answer(kind: str) -> Answer:
        if kind == "poll":
            stopping.set()
            return running()
        return inner(kind)

    studio.api.answer = answer  # type: ignore[method-assign]
    left = studio.generate(job_id)
    assert left.state is JobState.GENERATING
    studio.api.answer = inner  # type: ignore[method-assign]
    sends(studio.api, mp4())

    assert studio.store.recover(left)
    assert not studio.store.recover(left)  # it is in nobody's hand now
    studio.tools = replace(studio.tools, stopping=threading.Event())
    studio.executor = "veo-1.2.00000000"
    job = studio.generate(job_id)
    assert job.state is JobState.COMPLETED, job.error_message
    assert (studio.api.count("submit"), job.credits_charged) == (1, 8)
    by_name = [
        dict(s.attributes or {}) for s in recorded.spans.get_finished_spans() if s.name == "rushes.provider"
    ]
    assert [a.get("rushes.resumed") for a in by_name] == [None, True]
    assert [s.name for s in job.stages].count("queue_wait") == 2


@only_vertex
def test_an_order_of_which_nobody_knows_is_not_repeated(studio: Studio) -> None:
    job_id = studio.submit()
    studio.encode(job_id)
    Operations(studio.store.engine).begin(studio.job(job_id), 1)
    job = studio.generate(job_id)
    assert (job.failure_reason, job.error_code) == ("provider", "provider_order_unknown")
    assert studio.api.asked == []
    assert studio.store.delete(job_id) is not None
    assert Operations(studio.store.engine).of(job) is None


@only_vertex
def test_a_worker_without_an_account_says_so(studio: Studio) -> None:
    studio.tools = replace(studio.tools, provider=None)
    job = studio.made()
    assert (job.failure_reason, job.error_code) == ("provider", "model_unavailable")
    assert "rushes doctor" in (job.error_message or "")


@only_vertex
def test_neither_the_prompt_nor_the_key_is_in_telemetry(studio: Studio, recorded: Recorded) -> None:
    sends(studio.api, mp4(), error(500, "INTERNAL", f"{PROMPT} {KEY}"))
    assert studio.made().state is JobState.COMPLETED
    studio.api.submit = [error(400, "INVALID_ARGUMENT", f"{PROMPT} {KEY}")]
    assert studio.made().state is JobState.FAILED
    everything = json.dumps([s.to_json() for s in recorded.spans.get_finished_spans()])
    everything += repr(recorded.logs.get_finished_logs())
    assert "rushes.veo.wait" in everything
    assert "canary" not in everything
    assert KEY not in everything
    assert KEY not in repr(Veo(api_key=SecretStr(KEY)))


def test_what_is_offered_depends_on_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offer_veo(Veo())[0] is None
    assert "RUSHES_VEO__API_KEY" in offer_veo(Veo())[1]
    with_project, _ = offer_veo(Veo(project="p"))
    assert with_project is not None
    assert with_project.max_seed == 2**32 - 1
    for version, offered in (("2.34.0", True), ("3.0.0", False)):
        monkeypatch.setattr("importlib.metadata.version", lambda _, v=version: v)
        card, problem = offer_veo(Veo(api_key=SecretStr(KEY)))
        assert (card is not None) == offered
        assert ("Vertex AI only" in problem) != offered
        assert card is None or card.max_seed is None


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"size": "64x64"}, "size", "it takes 1280x720, 720x1280, 1920x1080 or 1080x1920"),
        ({"seconds": "5"}, "seconds", "VEO3 makes videos of 4, 6 or 8 s, not 5 s"),
        ({"seconds": 20}, "seconds", "videos of 4, 6 or 8 s, not 20 s"),
        ({"steps": 8}, "steps", "steps can't be chosen for VEO3"),
        ({"guidance_scale": 3}, "guidance_scale", "guidance_scale can't be chosen for VEO3"),
        ({"seed": 2**32}, "seed", "between 0 and 4294967295"),
    ],
)
def test_the_gateway_refuses_what_google_does_not_offer(
    fields: dict[str, object], param: str, said: str
) -> None:
    cards = {"VEO3": veo3.card(takes_seed=True)}
    with pytest.raises(ApiError, match=said) as refused:
        parse_request({"model": "VEO3", "prompt": PROMPT, **fields}, cards, key_tier="free")
    assert refused.value.param == param


def test_what_google_is_asked_for() -> None:
    wanted = parse_request(
        {"model": "VEO3", "prompt": PROMPT, "seconds": "6", "size": "1920x1080"},
        {"VEO3": veo3.card(takes_seed=False)},
        key_tier="free",
    )
    assert (wanted.seed, wanted.steps, wanted.num_frames) == (NO_SEED, 0, 6 * 24)
    with pytest.raises(ApiError, match="a seed can't be chosen for VEO3"):
        parse_request(
            {"model": "VEO3", "prompt": PROMPT, "seed": 1},
            {"VEO3": veo3.card(takes_seed=False)},
            key_tier="free",
        )
    job = Job(
        id="video_0", key_id="k", tier="free", model="VEO3", seconds=6, width=1920, height=1080, num_frames=144,
        fps=24, steps=0, seed=NO_SEED, guidance_scale=1.0, trace_id="0" * 32, root_span_id="0" * 16, accepted_ns=0,
        state=JobState.GENERATING,
    )  # fmt: skip
    shown = video_object(job)
    assert (shown["seed"], shown["progress"]) == (None, 0)
    asked = Provider(Veo(api_key=SecretStr(KEY))).request(job, JobPrompt(PROMPT, ""))
    assert (asked.seconds, asked.resolution, asked.aspect_ratio, asked.seed, asked.audio) == (
        6, "1080p", "16:9", None, None,
    )  # fmt: skip
    assert asked.negative_prompt is None
