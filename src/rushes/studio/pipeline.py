"""A video's whole way through the workers, in order, on one screen.

The gateway comes before it (`rushes.studio.gateway`), the queues between its two parts (`rushes.studio.jobs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import Span

from rushes.sdk import instruments, logs, tracing
from rushes.studio import outcome
from rushes.studio.cost import Book, Meter, Role
from rushes.studio.failure import Cancelled, EncodingLost, classify
from rushes.studio.jobs import DATABASE_AWAY, INTERRUPTED, PRIORITIES, Job, patiently, remove_unused
from rushes.studio.recovery import retry
from rushes.studio.render import Render, Tools
from rushes.studio.stages import decode, deliver, denoise, prompt, provider, setup

__all__ = ["ENCODE", "GENERATE", "Stage", "encode", "generate"]

_ENCODE_LOG: Final = logs.get_logger("encode-worker")
_GENERATE_LOG: Final = logs.get_logger("dit-worker")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its span, what it does, when it applies, and the metrics it feeds."""

    span: str
    run: Callable[[Render, Span], None]
    metrics: tuple[str, ...] = ()
    applies: Callable[[Render], bool] = lambda _: True


ENCODE: Final = (
    Stage("prompt_processing", prompt.run, ("safety_check_duration_ms", "pregen_safety_block_total")),
)
GENERATE: Final = (
    Stage("worker_setup", setup.run, ("worker_model_load_duration_seconds",), provider.is_local),
    Stage("dit_inference", denoise.run, ("dit_inference_step_duration_ms",), provider.is_local),
    Stage(
        "vae_decode",
        decode.video,
        ("vae_decode_duration_seconds", "frames_per_second_generated"),
        provider.is_local,
    ),
    Stage("audio_generation", decode.audio, ("audio_generation_duration_seconds",), decode.has_audio),
    Stage("rushes.provider", provider.run, (), provider.is_remote),  # instead of all of these
    # Checks of the frames and the provenance manifest belong here.
    Stage("transcode", deliver.transcode, (), deliver.needs_transcode),
    Stage("upload", deliver.upload),
)


def encode(job: Job, tools: Tools) -> bool:
    """The role `encode`: returns True when the job may be rendered; else it has ended the job."""
    with tracing.under(outcome.root_of(job)), _metered(job, "encode", tools) as meter:
        begun = job.encode_started_ns or time.time_ns()
        reached = job.reached_ns
        if begun > reached:
            tracing.record("rushes.encode_wait", reached, begun)
            tools.store.append_stage(job, "rushes.encode_wait", reached, begun)
        _ENCODE_LOG.info("generation.encode.started", request_id=job.id, model=job.model, tier=job.tier)
        render = Render(
            job=job, tools=tools, meter=meter, raise_if_ended=_unless_ended(job, tools), started_ns=begun
        )
        try:
            with render.kept:
                ready = _run(ENCODE, render, begun) and tools.store.holds(job)
        finally:
            render.clean_up()
        if ready:
            _ENCODE_LOG.info(
                "generation.job.waiting",
                request_id=job.id,
                model=job.model,
                tier=job.tier,
                queue_depth=tools.store.waiting(),
            )
    return ready


def generate(job: Job, tools: Tools) -> None:
    """The role `generate`: ends the job, one way or another, or gives it back to be encoded again."""
    with tracing.under(outcome.root_of(job)), _metered(job, "generate", tools) as meter:
        if not tools.store.start_generating(job):
            return  # ended meanwhile, by whoever ended it
        begun = time.time_ns()
        _record_wait(job, tools, begun)
        render = Render(
            job=job, tools=tools, meter=meter, raise_if_ended=_unless_ended(job, tools), started_ns=begun
        )
        try:
            with render.kept:
                if _run(GENERATE, render, begun):
                    _complete(render)
        finally:
            render.clean_up()


def _complete(render: Render) -> None:
    job, tools, media, size = render.job, render.tools, render.media, render.size_bytes
    assert media is not None, "upload has run"  # noqa: S101 - the pipeline's order
    assert size is not None, "upload has run"  # noqa: S101 - likewise
    render.meter.stop()
    completed = patiently(lambda: tools.store.complete(job, media=media, size_bytes=size))
    if completed is not None:
        tools.ending.completed(completed)
    else:  # the job was ended after its upload: nobody would ever delete what it stored
        remove_unused(tools.store.engine, media, tools.media.delete)


def _record_wait(job: Job, tools: Tools, begun_ns: int) -> None:
    since = job.reached_ns
    if any(s.name == INTERRUPTED and s.end_ns == since for s in job.stages):
        _record_recovery(job, tools, begun_ns)
    seconds = (begun_ns - since) / 1e9
    depth = tools.store.waiting() + 1
    wait = tracing.open_span("queue_wait", since, {"queue_depth": depth, "priority": PRIORITIES[job.tier]})
    with tracing.under(wait):
        tracing.record("scheduler.assign", job.assigned_ns or begun_ns, begun_ns)
        instruments.queue_wait_duration_seconds.record(seconds, tier=outcome.tier_of(job))
    wait.end(begun_ns)
    tools.store.append_stage(job, "queue_wait", since, begun_ns)
    _GENERATE_LOG.info(
        "generation.job.assigned",
        request_id=job.id,
        model=job.model,
        tier=job.tier,
        queue_wait_seconds=round(seconds, 3),
    )


def _record_recovery(job: Job, tools: Tools, begun_ns: int) -> None:
    """From the lost worker's last sign of life: its stage began earlier, with work that may be of use."""
    earlier = [a for a in Book(tools.store.engine).attempts(job.id) if a.number < job.attempt]
    lost = max((a.end_ns for a in earlier if a.role == "generate"), default=None)
    if lost is not None:
        seconds = max(0, begun_ns - lost) / 1e9
        instruments.rushes_recovery_duration_seconds.record(
            seconds, tier=outcome.tier_of(job), model=job.model
        )


def _metered(job: Job, role: Role, tools: Tools) -> Meter:
    return Meter(Book(tools.store.engine), job, role, tools.device)


def _unless_ended(job: Job, tools: Tools) -> Callable[[], None]:
    def check() -> None:
        if not tools.store.holds(job):
            raise Cancelled(job.id)

    return check


def _run(stages: Iterable[Stage], render: Render, begun_ns: int) -> bool:
    """Runs the stages that apply, each from the end of the one before; False when the job has ended early."""
    tools, job = render.tools, render.job
    reached = begun_ns
    for stage in stages:
        try:
            if not stage.applies(render):
                continue
            render.raise_if_ended()
            render.raise_if_overdue()
            with tracing.span(stage.span, start_ns=reached) as span:
                stage.run(render, span)
        except Cancelled:
            return False  # whoever ended the job has told of it; one that only this worker gives up goes back
        except EncodingLost as error:
            tools.store.append_stage(job, stage.span, reached, time.time_ns())
            if not tools.encode_again(job):
                _fail(render, error, stage.span)
            return False
        except DATABASE_AWAY:
            raise  # no failure of the video: whoever called puts it back
        except Exception as error:  # noqa: BLE001 - every failure becomes the job's, with a clear text
            tools.store.append_stage(job, stage.span, reached, time.time_ns())
            _give_back_or_fail(render, error, stage.span)
            return False
        ended = time.time_ns()
        tools.store.append_stage(job, stage.span, reached, ended)
        reached = ended
    return True


def _give_back_or_fail(render: Render, error: Exception, doing: str) -> None:
    job, tools, failure = render.job, render.tools, classify(error, doing=doing)
    if failure.reason == "cuda_error":
        tools.stopping.set()  # nothing works any more in a process whose CUDA context is broken; the next one will
    if failure.transient and retry(job, failure, store=tools.store, limit=tools.max_retries):
        Book(tools.store.engine).because(job.id, job.attempt, "retry")
    else:
        _fail(render, error, doing)


def _fail(render: Render, error: BaseException, doing: str) -> None:
    failure = classify(error, doing=doing)
    render.meter.stop("retry")
    failed = render.tools.store.fail(
        render.job.id, code=failure.code, message=failure.message, reason=failure.reason, held=render.job
    )
    if failed is not None:
        render.tools.ending.failed(failed)
