"""A video's way through both workers' stages, with real models, a real database and a real file at its end."""

from __future__ import annotations

import errno
import io
import json
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import PIL.Image
import pytest
from cryptography.fernet import Fernet
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from sqlalchemy.exc import OperationalError

from recording import Recorded
from rushes.catalog import SPANS, Reason, declared_span
from rushes.studio import outcome, pipeline
from rushes.studio.cost import Book
from rushes.studio.failure import Failure, SafetyBlocked, classify
from rushes.studio.jobs import (
    MAX_RECOVERIES,
    Job,
    JobPrompt,
    JobState,
    JobStore,
    Stage,
    TierPolicy,
    new_job_id,
    open_database,
)
from rushes.studio.keys import KeyStore
from rushes.studio.models import CheckpointError, WeightsMissing, available
from rushes.studio.recovery import encode_again, pause_before
from rushes.studio.render import Render, Tools
from rushes.studio.safety import Blocklist
from rushes.studio.shelf import Shelf
from rushes.studio.storage import Media, StorageError
from rushes.studio.transcode import TranscodeError
from studio.claiming import claim_encoding, claim_generation

PROMPT = "a canary-yellow ball rolls down a green hill"
EXECUTOR = "test-0.1.00000000"


@dataclass
class Studio:
    tools: Tools
    store: JobStore
    keys: KeyStore

    def submit(
        self, model: str, prompt: str = PROMPT, *, picture: bytes | None = None, **changes: object
    ) -> str:
        card = available({})[model]
        key, _ = self.keys.create("test", tier="premium", credits=1000)
        accepted = time.time_ns()
        job = Job(
            id=new_job_id(),
            key_id=key.id,
            tier="premium",
            model=model,
            seconds=card.default_seconds,
            width=64,
            height=64,
            num_frames=card.frames_for(card.default_seconds),
            fps=card.fps,
            steps=3,
            seed=7,
            guidance_scale=card.default_guidance,
            trace_id=secrets.token_hex(16),
            root_span_id=secrets.token_hex(8),
            accepted_ns=accepted,
            credits_reserved=2,
            stages=(Stage("gateway", accepted, accepted),),
        )
        job = replace(job, **changes)  # type: ignore[arg-type]  # a test's own keyword arguments
        self.store.create(job, key=key, prompt=JobPrompt(prompt, ""), picture=picture)
        return job.id

    def encode(self, job_id: str) -> bool:
        job = claim_encoding(self.store, job_id, worker_id="test-0", executor_id=EXECUTOR)
        assert job is not None
        ready = pipeline.encode(job, self.tools)
        if ready:
            assert self.store.enqueue_generation(job)
        return ready

    def generate(self, job_id: str) -> Job:
        job = claim_generation(self.store, job_id, worker_id="test-0", executor_id=EXECUTOR)
        assert job is not None
        pipeline.generate(job, self.tools)
        return self.job(job_id)

    def job(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        assert job is not None
        return job


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf("all", {}, tmp_path_factory.mktemp("models"), "cpu", sample_every=2)


@pytest.fixture
def studio(tmp_path: Path, shelf: Shelf, recorded: Recorded) -> Iterator[Studio]:
    engine = open_database(f"sqlite:///{tmp_path / 'studio.db'}")
    store = JobStore(engine, prompt_key=Fernet.generate_key())
    tools = Tools(
        store=store,
        ending=outcome.Ending(engine),
        shelf=shelf,
        media=Media(tmp_path / "videos"),
        blocklist=Blocklist.load(),
        scratch=tmp_path / "scratch",
        worker_id="test-0",
        hash_key=b"0" * 32,
        encode_again=encode_again(store),
        upsize="nearest",
    )
    yield Studio(tools, store, KeyStore(engine))
    engine.dispose()


_KINDS: Final = {
    "MOCHI1": {"joint_attn", "ffn", "other"},
    "LTX2": {"joint_attn", "cross_attn", "ffn", "audio", "other"},
    "OPENSORA": {"spatial_attn", "temporal_attn", "cross_attn", "ffn", "other"},
}


def _tree(spans: tuple[ReadableSpan, ...]) -> dict[str, str | None]:
    names = {s.context.span_id: s.name for s in spans if s.context}
    return {s.name: names.get(s.parent.span_id) if s.parent else None for s in spans}


@pytest.mark.parametrize("model", ["MOCHI1", "LTX2", "OPENSORA"])
def test_a_video_is_made_and_its_trace_is_the_specifications_tree(
    studio: Studio, recorded: Recorded, model: str
) -> None:
    job_id = studio.submit(model)
    assert studio.encode(job_id)
    job = studio.generate(job_id)
    assert job.state is JobState.COMPLETED, job.error_message
    assert job.media is not None
    assert job.credits_charged == 2

    file = Path(studio.tools.media.location) / job.media
    with av.open(str(file)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert len(frames) == job.num_frames
        assert np.std(np.stack(frames)) > 1
        small = f"{job.width}x{job.height}"
        assert container.metadata["comment"].startswith("upsized ")
        assert container.metadata["comment"].endswith(f" from {small} (nearest)")
        assert bool(container.streams.audio) == (model == "LTX2")

    spans = recorded.spans.get_finished_spans()
    assert {s.context.trace_id for s in spans if s.context} == {int(job.trace_id, 16)}
    tree = _tree(spans)
    assert tree["video_generation_request"] is None
    for name, parent in tree.items():
        declared = declared_span(name)
        assert declared is not None
        above = declared_span(parent) if parent else None
        assert (above.name if above else None) == declared.parent
    assert [name for name in tree if name.startswith("step_")] == ["step_1", "step_2", "step_3"]
    assert ("audio_generation" in tree) == (model == "LTX2")
    assert {"gateway", "prompt_processing", "queue_wait", "upload"} - tree.keys() == {"gateway"}
    kinds = _KINDS[model]
    assert {name for name, parent in tree.items() if parent == "step_2"} == kinds
    sampled = recorded.span("step_2").attributes or {}
    assert sum(int(str(sampled[f"rushes.ns.{kind}"])) for kind in kinds) == sampled["rushes.ns.total"]
    decoded = recorded.span("vae_decode").attributes or {}
    assert decoded["output_frames"] == job.num_frames
    written = recorded.span("transcode").attributes or {}
    assert written["rushes.upsize_method"] == "nearest"
    assert written["rushes.upsize_factor"] == frames[0].shape[1] // job.width > 1
    assert recorded.span("dit_inference").attributes["rushes.clock"] == "host"  # type: ignore[index]
    ratio = recorded.span("video_generation_request").attributes["rushes.attributed_ratio"]  # type: ignore[index]
    assert isinstance(ratio, float)
    assert 0.95 <= ratio <= 1
    assert not (studio.tools.scratch / job_id).exists()


def test_a_video_begins_with_its_picture(studio: Studio, recorded: Recorded) -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), (200, 30, 30)).save(file, "PNG")
    made = []
    for picture in (file.getvalue(), file.getvalue(), None):
        job_id = studio.submit("LTX2", picture=picture)
        assert studio.encode(job_id)
        job = studio.generate(job_id)
        assert job.state is JobState.COMPLETED, job.error_message
        made.append(job.media)
    assert made[0] == made[1] != made[2]
    steps = [span for span in recorded.spans.get_finished_spans() if span.name == "step_2"]
    assert len(steps) == 3


def test_every_measurement_of_the_way_is_made(studio: Studio, recorded: Recorded) -> None:
    def count(name: str, labels: str) -> float:
        return sum(v for series, v in recorded.metrics(name).items() if labels in series)

    watched = {
        "video_generation_success_total": 'model="LTX2"',
        "video_generation_duration_seconds_count": 'model="LTX2"',
        "dit_inference_step_duration_ms_count": 'step_type="total"',
        "vae_decode_duration_seconds_count": 'model="LTX2"',
        "audio_generation_duration_seconds_count": 'model="LTX2"',
        "queue_wait_duration_seconds_count": 'tier="premium"',
        "job_age_seconds_count": 'model="LTX2"',
        "safety_check_duration_ms_count": 'check_type="pregen"',
        "credits_consumed_total": 'model="LTX2"',
        "video_seconds_generated_total": 'model="LTX2"',
    }
    before = {name: count(name, labels) for name, labels in watched.items()}
    job_id = studio.submit("LTX2")
    studio.encode(job_id)
    studio.generate(job_id)
    grown = {name: count(name, labels) - before[name] for name, labels in watched.items()}
    assert grown.pop("dit_inference_step_duration_ms_count") == 3
    assert grown.pop("credits_consumed_total") == 2
    assert grown.pop("video_seconds_generated_total") == pytest.approx(25 / 24)
    assert set(grown.values()) == {1}
    assert count("frames_per_second_generated", "LTX2") > 0


def test_stages_name_only_declared_signals() -> None:
    from rushes.catalog import METRICS

    for stage in (*pipeline.ENCODE, *pipeline.GENERATE):
        assert SPANS[stage.span].parent == "video_generation_request"
        assert set(stage.metrics) <= METRICS.keys()


def test_a_blocked_prompt_costs_nothing_and_says_so(studio: Studio, recorded: Recorded) -> None:
    job_id = studio.submit("MOCHI1", "a video of child porn")
    assert not studio.encode(job_id)
    job = studio.job(job_id)
    assert (job.state, job.error_code, job.failure_reason) == (
        JobState.FAILED,
        "content_policy_violation",
        "safety_block",
    )
    assert job.credits_charged == 0
    assert "porn" not in repr(job)
    assert "text_encoder.t5xxl" not in _tree(recorded.spans.get_finished_spans())
    root = recorded.span("video_generation_request")
    assert root.status.status_code is StatusCode.ERROR
    events = [dict(log.log_record.attributes or {})["event"] for log in recorded.logs.get_finished_logs()]
    assert events == ["generation.encode.started", "safety.pregen.blocked", "generation.job.failed"]


def test_a_cancelled_job_stops_within_a_step(studio: Studio, recorded: Recorded) -> None:
    job_id = studio.submit("MOCHI1", steps=50)
    studio.encode(job_id)
    calls = []
    inner = studio.store.set_progress

    def cancel_at_two(job: Job, step: int) -> bool:
        calls.append(step)
        if step == 2:
            studio.store.cancel(job.id)
        return inner(job, step)

    studio.store.set_progress = cancel_at_two  # type: ignore[method-assign]
    job = studio.generate(job_id)
    assert job.state is JobState.CANCELLED
    assert calls == [1, 2]
    assert job.credits_charged == 0
    assert not (studio.tools.scratch / job_id).exists()
    assert recorded.span("dit_inference").status.status_code is StatusCode.UNSET


def test_a_job_that_is_cancelled_after_its_upload_leaves_no_object(studio: Studio, tmp_path: Path) -> None:
    job_id = studio.submit("OPENSORA")
    studio.encode(job_id)
    complete = studio.store.complete

    def cancelled_before(job: Job, **values: object) -> Job | None:
        studio.store.cancel(job.id)
        return complete(job, **values)  # type: ignore[arg-type]

    studio.store.complete = cancelled_before  # type: ignore[method-assign]
    assert studio.generate(job_id).state is JobState.CANCELLED
    assert list((tmp_path / "videos").rglob("*.mp4")) == []


def test_a_lost_encoding_is_made_again_but_not_for_ever(studio: Studio, recorded: Recorded) -> None:
    job_id = studio.submit("OPENSORA")
    for _ in range(MAX_RECOVERIES):
        studio.encode(job_id)
        shutil.rmtree(studio.tools.scratch / job_id)
        assert studio.generate(job_id).state is JobState.QUEUED
    studio.encode(job_id)
    shutil.rmtree(studio.tools.scratch / job_id)
    job = studio.generate(job_id)
    assert (job.state, job.failure_reason) == (JobState.FAILED, "checkpoint")
    assert recorded.span("video_generation_request").attributes["error.type"] == "checkpoint"  # type: ignore[index]


class Killed(BaseException):
    """What no handler catches: the worker is gone at this point."""


def _die_after(studio: Studio, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = studio.store.set_progress

    def die(job: Job, done: int) -> bool:
        if done == step + 1:
            raise Killed
        return inner(job, done)

    monkeypatch.setattr(studio.store, "set_progress", die)


def _content(studio: Studio, job: Job) -> bytes:
    assert job.media is not None
    return (Path(studio.tools.media.location) / job.media).read_bytes()


@pytest.mark.parametrize(
    ("damage", "resumed"),
    [(None, 6), ("newest", 4), ("all", 0), ("gone", 0), ("version", 0)],
)
def test_a_lost_workers_video_goes_on_from_the_last_usable_checkpoint(
    studio: Studio, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, damage: str | None, resumed: int
) -> None:
    studio.tools = replace(studio.tools, checkpoint_every=2)
    undisturbed = studio.submit("OPENSORA", steps=9)
    studio.encode(undisturbed)
    expected = _content(studio, studio.generate(undisturbed))
    job_id = studio.submit("OPENSORA", steps=9)
    studio.encode(job_id)
    with monkeypatch.context() as patched:
        _die_after(studio, 7, patched)
        with pytest.raises(Killed):
            studio.generate(job_id)
    lost = studio.job(job_id)
    assert (lost.state, lost.step) == (JobState.GENERATING, 7)
    files = sorted((studio.tools.scratch / job_id).glob("checkpoint_*"))
    assert [file.stem for file in files] == ["checkpoint_4", "checkpoint_6"]
    if damage == "version":
        monkeypatch.setattr("diffusers.__version__", "99.0")
    elif damage == "gone":
        for file in files:
            file.unlink()
    elif damage:
        for file in files if damage == "all" else files[-1:]:
            file.write_bytes(file.read_bytes()[:-1])
    recorded.spans.clear()
    series = f'model="OPENSORA",tier="{lost.tier}"'
    before = {name: _value(recorded, name, series) for name in _RECOVERY}
    book = Book(studio.store.engine)
    book.reach(job_id, lost.attempt, lost.accepted_ns - 3600 * 10**9)  # silent for an hour, by now

    assert studio.store.recover(lost)
    job = studio.generate(job_id)
    assert job.state is JobState.COMPLETED, job.error_message
    assert (job.recoveries, job.attempt) == (1, 4)
    assert _content(studio, job) == expected
    steps = [s.name for s in recorded.spans.get_finished_spans() if s.name.startswith("step_")]
    assert steps == [f"step_{index}" for index in range(resumed + 1, 10)]
    grown = {name: _value(recorded, name, series) - before[name] for name in _RECOVERY}
    attempts = {attempt.number: attempt for attempt in book.attempts(job_id)}
    silent_ns, again = attempts[lost.attempt].end_ns, attempts[job.attempt]
    seconds = grown.pop("rushes_recovery_duration_seconds_sum")
    assert (again.start_ns - silent_ns) / 1e9 <= seconds <= (again.end_ns - silent_ns) / 1e9
    assert grown == {
        "checkpoint_recovery_count": float(resumed > 0),
        "rushes_recovered_steps_total": float(resumed),
        "rushes_lost_steps_total": float(7 - resumed),
    }
    assert not (studio.tools.scratch / job_id).exists()
    saves = [s for s in recorded.spans.get_finished_spans() if s.name == "checkpoint.save"]
    assert len(saves) == (8 - resumed) // 2


_RECOVERY: Final = (
    "checkpoint_recovery_count",
    "rushes_recovered_steps_total",
    "rushes_lost_steps_total",
    "rushes_recovery_duration_seconds_sum",
)


def _value(recorded: Recorded, name: str, labels: str) -> float:
    return sum(value for series, value in recorded.metrics(name).items() if labels in series)


def test_a_worker_that_was_taken_for_dead_changes_nothing(
    studio: Studio, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes up at its third step, while another has the job: it stops, and leaves the other's files alone."""
    studio.tools = replace(studio.tools, checkpoint_every=2)
    job_id = studio.submit("OPENSORA", steps=6)
    studio.encode(job_id)
    inner, done = studio.store.set_progress, list[Job]()

    def overtaken(job: Job, step: int) -> bool:
        if step == 3 and not done:
            done.append(job)
            assert studio.store.recover(job)
            done.append(studio.generate(job_id))
        return inner(job, step)

    monkeypatch.setattr(studio.store, "set_progress", overtaken)
    after = studio.generate(job_id)
    assert after == done[1]
    assert after.state is JobState.COMPLETED
    assert studio.store.complete(done[0], media="sha256/bb.mp4", size_bytes=1) is None
    assert studio.store.fail(job_id, code="c", message="m", reason="internal", held=done[0]) is None
    assert not studio.store.reserve_media(done[0], "sha256/bb.mp4")
    assert [s.name for s in recorded.spans.get_finished_spans()].count("video_generation_request") == 1
    assert (Path(studio.tools.media.location) / str(after.media)).exists()


def _once(monkeypatch: pytest.MonkeyPatch, studio: Studio, error: Exception) -> list[str]:
    """OPENSORA's decoder raises the error the first time; what is told in the end is how often it was called."""
    calls: list[str] = []
    with studio.tools.shelf.use("OPENSORA") as backend:
        decode = backend.decode

    def failing(*arguments: Any) -> Any:
        vae = backend.pipeline("generate").vae  # type: ignore[attr-defined]
        calls.append("in tiles" if vae.use_tiling else "at once")
        if len(calls) == 1:
            raise error
        return decode(*arguments)

    monkeypatch.setattr(backend, "decode", failing)
    return calls


class OutOfMemoryError(RuntimeError):
    """As torch has it, by name."""


class AcceleratorError(RuntimeError):
    """Likewise."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OutOfMemoryError("zebracanary"), "oom"), (AcceleratorError("zebracanary"), "cuda_error")],
)
def test_what_may_go_well_another_time_is_tried_again_from_the_last_checkpoint(
    studio: Studio,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    stopping = threading.Event()
    studio.tools = replace(studio.tools, max_retries=2, checkpoint_every=2, stopping=stopping)
    calls = _once(monkeypatch, studio, error)
    series = f'model="OPENSORA",reason="{reason}"'
    before = _value(recorded, "rushes_retries_total", series)
    job_id = studio.submit("OPENSORA", steps=5)
    studio.encode(job_id)
    back = studio.generate(job_id)
    assert (back.state, back.retries, back.recoveries) == (JobState.WAITING, 1, 0)
    assert back.ready_ns > time.time_ns() + 3 * 10**9
    assert stopping.is_set() == (reason == "cuda_error")  # its process is of no more use
    job = studio.generate(job_id)
    assert job.state is JobState.COMPLETED, job.error_message
    assert calls == ["at once", "in tiles" if reason == "oom" else "at once"]
    steps = [s.name for s in recorded.spans.get_finished_spans() if s.name.startswith("step_")]
    assert steps[5:] == ["step_5"]
    assert _value(recorded, "rushes_retries_total", series) == before + 1
    assert recorded.span("rushes.retried").attributes["reason"] == reason  # type: ignore[index]
    setup = [
        dict(s.attributes or {}) for s in recorded.spans.get_finished_spans() if s.name == "worker_setup"
    ]
    assert [a.get("rushes.careful") for a in setup] == [None, True if reason == "oom" else None]
    assert "rushes.retried" in [stage.name for stage in job.stages]
    ratio = recorded.span("video_generation_request").attributes["rushes.attributed_ratio"]  # type: ignore[index]
    assert isinstance(ratio, float)
    assert ratio > 0.95
    told = [str(log.log_record.attributes) for log in recorded.logs.get_finished_logs()]
    assert any("generation.job.retried" in line for line in told)


def test_tries_come_to_an_end(studio: Studio, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.tools = replace(studio.tools, max_retries=1)
    job_id = studio.submit("OPENSORA")
    studio.encode(job_id)
    for state in (JobState.WAITING, JobState.FAILED):
        with monkeypatch.context() as broken:
            _once(broken, studio, OutOfMemoryError())
            assert studio.generate(job_id).state is state
    job = studio.job(job_id)
    assert (job.failure_reason, job.retries, job.credits_charged) == ("oom", 1, 0)


def test_tries_are_further_and_further_apart_and_not_at_the_same_time(studio: Studio) -> None:
    job = studio.job(studio.submit("OPENSORA"))
    failure = Failure("provider", "provider_quota_exceeded", "text", transient=True)
    pauses = [pause_before(replace(job, retries=n), failure) for n in (0, 1, 2, 9)]
    for pause, least in zip(pauses, (5, 10, 20, 300), strict=True):
        assert least <= pause <= least * 1.25
    assert pauses[0] == pause_before(job, failure)
    assert pause_before(job, replace(failure, retry_after_s=37.0)) == 37.0
    assert len({pause_before(replace(job, id=str(n)), failure) for n in range(20)}) == 20


@pytest.mark.parametrize("limit_s", [0.0, 3600.0])
def test_a_job_may_take_as_long_as_its_tier_allows(
    studio: Studio, recorded: Recorded, limit_s: float
) -> None:
    policies = {"premium": TierPolicy(time_limit_s=limit_s)}
    studio.tools = replace(studio.tools, policies=policies, max_retries=2)
    series = 'model="OPENSORA",tier="premium"'
    before = _value(recorded, "job_timeout_total", series)
    job_id = studio.submit("OPENSORA")
    studio.encode(job_id)
    job = studio.generate(job_id)
    if limit_s:
        assert job.state is JobState.COMPLETED
        return
    assert (job.state, job.failure_reason, job.error_code) == (
        JobState.FAILED,
        "timeout",
        "time_limit_exceeded",
    )
    assert job.error_message == "the video took longer than the 0 s that tier premium allows"
    assert (job.credits_charged, job.retries) == (0, 0)
    assert _value(recorded, "job_timeout_total", series) == before + 1


def test_time_runs_out_within_a_step(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = studio.submit("OPENSORA", steps=50)
    studio.encode(job_id)
    limits: dict[str, TierPolicy] = {}
    studio.tools = replace(studio.tools, policies=limits)
    inner = studio.store.set_progress

    def late(job: Job, step: int) -> bool:
        if step == 3:
            limits["premium"] = TierPolicy(time_limit_s=0)
        return inner(job, step)

    monkeypatch.setattr(studio.store, "set_progress", late)
    job = studio.generate(job_id)
    assert (job.failure_reason, job.step) == ("timeout", 3)


def test_a_missing_folder_of_weights_names_it_and_the_setting(
    studio: Studio, recorded: Recorded, tmp_path: Path
) -> None:
    gone = tmp_path / "no-such-weights"
    studio.tools = replace(
        studio.tools, shelf=Shelf("all", {"MOCHI1": gone}, tmp_path / "cache", "cpu", sample_every=2)
    )
    job_id = studio.submit("MOCHI1")
    assert not studio.encode(job_id)
    job = studio.job(job_id)
    assert (job.failure_reason, job.error_code) == ("checkpoint", "model_unavailable")
    assert str(gone) in (job.error_message or "")
    assert "RUSHES_WEIGHTS" in (job.error_message or "")


def test_storage_that_can_not_be_written_fails_the_job(studio: Studio, tmp_path: Path) -> None:
    job_id = studio.submit("OPENSORA")
    studio.encode(job_id)
    shutil.rmtree(tmp_path / "videos", ignore_errors=True)
    (tmp_path / "videos").write_text("in the way")
    job = studio.generate(job_id)
    assert (job.state, job.failure_reason, job.error_code) == (JobState.FAILED, "storage", "storage_error")


def test_an_encoder_that_quotes_the_prompt_in_its_error_is_not_quoted(
    studio: Studio, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from rushes.sdk.accounting import Account, AccountedSpans

    sent = InMemorySpanExporter()
    gate = AccountedSpans(sent, Account("spans", 100), delay_ms=3_600_000)
    assert recorded.telemetry.tracers is not None
    recorded.telemetry.tracers.add_span_processor(gate)
    with studio.tools.shelf.use("MOCHI1") as backend:
        pass  # it stays in memory
    monkeypatch.setattr(backend, "encode", lambda text, _negative: int(f"no token for {text!r}"))
    job_id = studio.submit("MOCHI1")
    assert not studio.encode(job_id)
    gate.force_flush()
    gate.shutdown()
    assert (
        studio.job(job_id).error_message
        == "ValueError during prompt_processing; submit the video again, or see the trace"
    )
    spans = sent.get_finished_spans()
    assert {"prompt_processing", "video_generation_request"} <= {s.name for s in spans}
    assert any(e.name == "exception" for s in spans for e in s.events)
    assert "canary" not in "".join(s.to_json() for s in spans)
    assert "canary" not in repr(recorded.logs.get_finished_logs())


def test_the_prompt_is_nowhere_in_telemetry(studio: Studio, recorded: Recorded) -> None:
    job_id = studio.submit("LTX2")
    studio.encode(job_id)
    studio.generate(job_id)
    everything = json.dumps([s.to_json() for s in recorded.spans.get_finished_spans()])
    everything += repr(recorded.logs.get_finished_logs()) + repr(recorded.telemetry.pull.get_metrics_data())  # type: ignore[union-attr]
    assert len(everything) > 1000
    for part in (PROMPT, "canary-yellow", "green hill"):
        assert part not in everything


@pytest.mark.parametrize(
    ("error", "reason", "told"),
    [
        (SafetyBlocked("violence"), "safety_block", "category violence"),
        (WeightsMissing("no folder /x"), "checkpoint", "no folder /x"),
        (CheckpointError("damaged"), "checkpoint", "damaged"),
        (StorageError("s3 said no"), "storage", "s3 said no"),
        (TranscodeError("no space"), "storage", "no space"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "storage", "/data/x"),
        (MemoryError(), "oom", "smaller size"),
        (RuntimeError("CUDA error: an illegal memory access"), "cuda_error", "CUDA error ended vae_decode"),
        (ValueError(f"token {PROMPT!r}"), "internal", "ValueError during vae_decode"),
    ],
)
def test_what_a_failure_says(error: Exception, reason: Reason, told: str) -> None:
    failure = classify(error, doing="vae_decode")
    assert isinstance(failure, Failure)
    assert failure.reason == reason
    assert told in failure.message
    assert PROMPT not in failure.message


@pytest.mark.parametrize(
    ("stages", "ratio"),
    [
        ([], 0.0),
        ([("a", 0, 100)], 1.0),
        ([("a", 0, 40), ("b", 50, 100)], 0.9),
        ([("a", 0, 60), ("b", 40, 100)], 1.0),  # overlapping stages count once
        ([("a", -50, 20), ("b", 90, 500)], 0.3),  # and only what lies inside
    ],
)
def test_the_attributed_ratio(stages: list[tuple[str, int, int]], ratio: float) -> None:
    assert outcome.attributed_ratio(stages, 0, 100) == pytest.approx(ratio)


def test_device_time_is_counted_by_attempt_and_told_on_the_root(studio: Studio, recorded: Recorded) -> None:
    job_id = studio.submit("OPENSORA")
    studio.encode(job_id)
    studio.generate(job_id)
    attempts = Book(studio.store.engine).attempts(job_id)
    assert [(a.number, a.role, a.device) for a in attempts] == [(1, "encode", "cpu"), (2, "generate", "cpu")]
    assert all(a.untold_s == 0 < a.seconds for a in attempts)
    stages = sum(s.end_ns - s.start_ns for s in studio.job(job_id).stages if not s.name.endswith("_wait"))
    told = recorded.span("video_generation_request").attributes or {}
    assert told["rushes.compute_seconds"] == pytest.approx(sum(a.seconds for a in attempts), abs=1e-5)
    assert told["rushes.compute_seconds"] == pytest.approx(stages / 1e9, rel=0.5)
    assert told["rushes.wasted_compute_seconds"] == 0


def test_work_after_a_checkpoint_that_went_with_its_worker_is_waste(
    studio: Studio, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.tools = replace(studio.tools, checkpoint_every=1)
    job_id = studio.submit("OPENSORA")
    studio.encode(job_id)
    lost = claim_generation(studio.store, job_id, worker_id="test-0", executor_id=EXECUTOR)
    assert lost is not None

    def killed(_render: Render, _span: object) -> None:
        raise KeyboardInterrupt  # what no handler catches

    stages = tuple(replace(s, run=killed) if s.span == "vae_decode" else s for s in pipeline.GENERATE)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "GENERATE", stages)
        with pytest.raises(KeyboardInterrupt):
            pipeline.generate(lost, studio.tools)
    assert studio.store.recover(studio.job(job_id))
    assert studio.generate(job_id).state is JobState.COMPLETED
    first, last = (a for a in Book(studio.store.engine).attempts(job_id) if a.role == "generate")
    assert first.start_ns < first.kept_ns < first.end_ns
    assert last.start_ns > first.end_ns
    told = recorded.span("video_generation_request").attributes or {}
    assert told["rushes.attempts"] == 3
    wasted = (first.end_ns - first.kept_ns) / 1e9
    assert told["rushes.wasted_compute_seconds"] == pytest.approx(wasted, abs=1e-5)


def test_a_database_that_is_away_is_no_failure_of_the_video(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = studio.submit("OPENSORA")
    studio.encode(job_id)
    held = claim_generation(studio.store, job_id, worker_id="test-0", executor_id=EXECUTOR)
    assert held is not None

    def away(_job: Job, _step: int) -> bool:
        raise OperationalError("UPDATE jobs", {}, Exception("the server closed the connection"))

    with monkeypatch.context() as patch:
        patch.setattr(studio.store, "set_progress", away)
        with pytest.raises(OperationalError):
            pipeline.generate(held, studio.tools)
    assert studio.job(job_id).state is JobState.GENERATING
    assert studio.store.recover(held)
    assert studio.generate(job_id).state is JobState.COMPLETED
