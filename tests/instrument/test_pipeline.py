"""One line on a pipeline: the tree of a call, the options, what happens when something goes wrong."""

from __future__ import annotations

import copy
import gc
import inspect
import json
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from opentelemetry.sdk.trace import ReadableSpan

from recording import Recorded
from rushes.instrument import Family, Rule, instrument, is_instrumented, job, uninstrument
from rushes.instrument.active import ACTIVE
from rushes.instrument.call import Call
from rushes.sdk import set_strict, tracing
from tiny_pipelines import STEPS, Tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
Build = Callable[[str], Tiny]


def tree(recorded: Recorded) -> dict[str, str | None]:
    """Each span's name and its parent's."""
    spans = recorded.spans.get_finished_spans()
    names = {s.context.span_id: s.name for s in spans if s.context}
    return {s.name: names.get(s.parent.span_id) if s.parent else None for s in spans}


def named(recorded: Recorded, start: str) -> list[ReadableSpan]:
    return [s for s in recorded.spans.get_finished_spans() if s.name.startswith(start)]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_the_tree_of_a_call(tiny: Build, recorded: Recorded) -> None:
    made = tiny("ltx2")
    instrument(made.pipe, sample_every=2)
    made.run()
    uninstrument(made.pipe)
    root = "video_generation_request"
    assert tree(recorded) == {
        root: None,
        "prompt_processing": root,
        "text_encoder.gemma3": "prompt_processing",
        "dit_inference": root,
        "noise.initialize": "dit_inference",
        "denoising_loop": "dit_inference",
        **{f"step_{i}": "denoising_loop" for i in range(1, STEPS + 1)},
        **dict.fromkeys(("joint_attn", "cross_attn", "ffn", "audio", "other"), "step_2"),
        "vae_decode": root,
        "audio_generation": root,
    }
    found = attributes(recorded.span(root))
    assert found["model"] == "LTX2"
    assert found["resolution"] == "64x64"
    assert found["steps"] == STEPS
    assert {key: value for key, value in found.items() if key.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "rushes",
        "gen_ai.output.type": "video",
        "gen_ai.request.model": "LTX2",
        "gen_ai.request.seed": 1,
    }
    timed = {"prompt_processing", "text_encoder.gemma3", "noise.initialize", "dit_inference", "vae_decode"}
    clocks = {s.name: attributes(s).get("rushes.clock") for s in named(recorded, "") if s.name in timed}
    assert clocks == dict.fromkeys(timed, "host")
    assert 0 < found["rushes.attributed_ratio"] <= 1
    assert attributes(recorded.span("audio_generation"))["sample_rate"] == 24000


def test_children_lie_within_their_parents(tiny: Build, recorded: Recorded) -> None:
    made = tiny("latte")
    instrument(made.pipe, sample_every=1)
    made.run()
    uninstrument(made.pipe)
    spans = {s.context.span_id: s for s in recorded.spans.get_finished_spans() if s.context}
    for span in spans.values():
        if span.parent is None:
            continue
        parent = spans[span.parent.span_id]
        assert span.start_time is not None and parent.start_time is not None  # noqa: PT018
        assert span.end_time is not None and parent.end_time is not None  # noqa: PT018
        assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time, (
            span.name,
            parent.name,
        )


@pytest.mark.parametrize(("every", "sampled"), [(0, set()), (1, {1, 2, 3, 4, 5}), (2, {2, 4}), (3, {2, 5})])
def test_how_often_sub_modules_are_measured(
    every: int, sampled: set[int], tiny: Build, recorded: Recorded
) -> None:
    made = tiny("cogvideox")
    instrument(made.pipe, sample_every=every)
    made.run(num_inference_steps=5)
    uninstrument(made.pipe)
    steps = {attributes(s)["step"]: attributes(s) for s in named(recorded, "step_")}
    assert {index for index, found in steps.items() if "rushes.ns.other" in found} == sampled
    assert [index for index, found in sorted(steps.items()) if "rushes.first_step" in found] == [1]


def test_what_pays_for_warming_up_is_marked(tiny: Build, recorded: Recorded) -> None:
    made = tiny("ltx")
    instrument(made.pipe)
    made.run()
    made.run()
    uninstrument(made.pipe)
    loops = [attributes(span) for span in named(recorded, "dit_inference")]
    assert [loop.get("rushes.first_call") for loop in loops] == [True, None]
    assert [loop["rushes.clock"] for loop in loops] == ["host"] * 2
    firsts = [
        attributes(span)["step"]
        for span in named(recorded, "step_")
        if "rushes.first_step" in attributes(span)
    ]
    assert firsts == [1, 1]


def test_metrics_of_a_call(tiny: Build, recorded: Recorded) -> None:
    made = tiny("ltx2")
    instrument(made.pipe, model="METRICS", sample_every=2)
    made.run()
    uninstrument(made.pipe)
    counts = recorded.metrics("dit_inference_step_duration_ms_count")
    mine = {series: n for series, n in counts.items() if 'model="METRICS"' in series}
    kinds = {series.split('step_type="')[1].split('"')[0]: n for series, n in mine.items()}
    assert kinds == {"total": 3, "joint_attn": 1, "cross_attn": 1, "ffn": 1, "audio": 1, "other": 1}
    sums = recorded.metrics("dit_inference_step_duration_ms_sum")
    step = attributes(recorded.span("step_2"))
    parts = sum(n for s, n in sums.items() if 'model="METRICS"' in s and "total" not in s)
    assert parts == pytest.approx(step["rushes.ns.total"] / 1e6)
    for name in ("vae_decode_duration_seconds_count", "audio_generation_duration_seconds_count"):
        assert [n for s, n in recorded.metrics(name).items() if "METRICS" in s] == [1]


def test_a_step_ends_with_the_scheduler_not_the_callback(tiny: Build, recorded: Recorded) -> None:
    made = tiny("mochi")
    seen = []

    def callback(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append((index, sorted(tensors)))
        return {"latents": tensors["latents"] * 0.5}

    plain = made.run(callback_on_step_end=callback)
    first, seen[:] = list(seen), []
    instrument(made.pipe, sample_every=1)
    assert torch.equal(plain, made.run(callback_on_step_end=callback))
    uninstrument(made.pipe)
    assert seen == first
    assert len(named(recorded, "step_")) == STEPS


class Stop(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("where", ["encoder", "network", "callback", "decoder"])
def test_an_exception_leaves_nothing(where: str, tiny: Build, recorded: Recorded) -> None:
    made = tiny("mochi")
    pipe = made.pipe
    error = torch.OutOfMemoryError if where == "network" else Stop
    armed = {"on": True}

    def fail(*_: Any) -> None:
        if armed["on"]:
            raise error("a prompt must not be quoted")

    target = {"encoder": pipe.text_encoder, "network": pipe.transformer.transformer_blocks[2].ff}
    if where in target:
        target[where].register_forward_pre_hook(fail)
    elif where == "decoder":
        pipe.vae.decoder.register_forward_pre_hook(fail)
    call = {"callback_on_step_end": fail} if where == "callback" else {}

    instrument(pipe, sample_every=1)
    with pytest.raises(error):
        made.run(**call)
    assert ACTIVE.get() is None
    for module in pipe.transformer.modules():
        assert "forward" not in vars(module)
    assert "step" not in vars(pipe.scheduler)
    root = recorded.span("video_generation_request")
    assert root.status.description == error.__name__
    finished = named(recorded, "")
    # What failed is ended and marked: nothing is open, since the exporter sees ended spans only.
    stage = {
        "encoder": None,
        "network": "denoising_loop",
        "callback": "denoising_loop",
        "decoder": "vae_decode",
    }
    failed = stage[where]
    if failed is not None:
        assert recorded.span(failed).status.description == error.__name__
    parents = {s.parent.span_id for s in finished if s.parent}
    assert parents <= {s.context.span_id for s in finished if s.context}

    armed["on"] = False
    recorded.spans.clear()
    made.run(**({"callback_on_step_end": lambda *a: a[3]} if where == "callback" else {}))
    assert len(named(recorded, "step_")) == STEPS
    uninstrument(pipe)


def test_twice_is_once_and_options_are_replaced(tiny: Build, recorded: Recorded) -> None:
    made = tiny("latte")
    original = type(made.pipe).__call__
    instrument(made.pipe, model="ONE")
    instrument(made.pipe, model="TWO")
    made.run()
    assert attributes(recorded.span("video_generation_request"))["model"] == "TWO"
    assert len(named(recorded, "step_")) == STEPS
    uninstrument(made.pipe)
    uninstrument(made.pipe)
    assert type(made.pipe).__call__ is original
    assert not is_instrumented(made.pipe)


def test_another_pipeline_of_the_class_is_left_alone(tiny: Build, recorded: Recorded) -> None:
    one, other = tiny("ltx"), tiny("ltx")
    instrument(one.pipe)
    other.run()
    assert recorded.spans.get_finished_spans() == ()
    uninstrument(one.pipe)


def test_signatures_stay(tiny: Build) -> None:
    pipe = tiny("latte").pipe
    names = ("encode_prompt", "prepare_latents")
    before = [inspect.signature(type(pipe).__call__), *(inspect.signature(getattr(pipe, n)) for n in names)]
    instrument(pipe)
    after = [inspect.signature(type(pipe).__call__), *(inspect.signature(getattr(pipe, n)) for n in names)]
    assert after == before
    assert inspect.signature(pipe.vae.decode) == inspect.signature(type(pipe.vae).decode.__get__(pipe.vae))
    uninstrument(pipe)


def test_a_copy_of_a_component_is_its_own(tiny: Build) -> None:
    pipe = tiny("ltx").pipe
    instrument(pipe)
    vae = copy.deepcopy(pipe.vae)
    latents = torch.zeros(1, 8, 1, 2, 2)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        assert not vae.decode(latents).sample.any()
        assert pipe.vae.decode(latents).sample.any()
    uninstrument(pipe)


def test_an_instrumented_pipeline_can_die(tiny: Build) -> None:
    made = tiny("ltx")
    pipe, vae = made.pipe, made.pipe.vae
    original = type(pipe).__call__
    instrument(pipe)
    made.run()
    gone, cls = weakref.ref(pipe), type(pipe)
    del made, pipe
    gc.collect()
    assert gone() is None
    assert "decode" not in vars(vae)
    assert cls.__call__ is original


def test_a_component_may_be_exchanged(tiny: Build, recorded: Recorded) -> None:
    made, other = tiny("ltx"), tiny("ltx")
    old = made.pipe.vae
    instrument(made.pipe, sample_every=1)
    made.pipe.vae, made.pipe.transformer = other.pipe.vae, other.pipe.transformer
    made.run()
    assert "decode" not in vars(old)
    assert attributes(recorded.span("vae_decode"))["output_frames"] == 9
    assert attributes(recorded.span("step_2"))["rushes.executed.joint_attn"] == 3
    uninstrument(made.pipe)


def test_a_pipeline_that_the_map_does_not_know(tiny: Build, recorded: Recorded) -> None:
    made = tiny("ltx")
    network = type(made.pipe.transformer)
    made.pipe.transformer.__class__ = type("HomeMadeTransformer", (network,), {})
    instrument(made.pipe, sample_every=1)
    made.run()
    made.run()
    found = attributes(named(recorded, "step_2")[0])
    assert found["rushes.passes"] == 1
    assert "rushes.ns.other" not in found
    lines = [r.log_record for r in recorded.logs.get_finished_logs()]
    assert [line.attributes["module"] for line in lines if line.attributes] == [
        "transformer: HomeMadeTransformer"
    ]

    mine = Family(("HomeMadeTransformer",), (Rule("transformer_blocks.*.attn1", "spatial_attn"),))
    instrument(made.pipe, sample_every=1, families=[mine], model="HOME")
    recorded.spans.clear()
    made.run()
    found = attributes(recorded.span("step_2"))
    assert found["rushes.executed.spatial_attn"] == 3
    assert found["rushes.ns.spatial_attn"] + found["rushes.ns.other"] == found["rushes.ns.total"]
    uninstrument(made.pipe)


def test_bad_options_are_refused(tiny: Build) -> None:
    pipe = tiny("ltx").pipe
    with pytest.raises(ValueError, match="sample_every must be 0 or more, got -1"):
        instrument(pipe, sample_every=-1)
    with pytest.raises(TypeError, match="Family objects, got str"):
        instrument(pipe, families=["attn"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a diffusers pipeline, not int"):
        instrument(3)
    with pytest.raises(ValueError, match="no kind 'attention'"):
        Rule("blocks.*.attn", "attention")  # type: ignore[arg-type]
    assert not is_instrumented(pipe)


def test_a_services_own_stages_are_adopted(tiny: Build, recorded: Recorded) -> None:
    made = tiny("mochi")
    pipe = made.pipe
    instrument(pipe, model="SERVICE")
    with tracing.span("video_generation_request"):
        with tracing.span("text_encoder.t5xxl"):
            embeds, mask, *_ = pipe.encode_prompt("a cat", do_classifier_free_guidance=False)
        with tracing.span("dit_inference"):
            latents = made.run(
                prompt=None,
                prompt_embeds=embeds,
                prompt_attention_mask=mask,
                guidance_scale=1.0,
                output_type="latent",
            )
        with tracing.span("vae_decode"), torch.no_grad():
            pipe.vae.decode(latents)
    uninstrument(pipe)
    names = [s.name for s in recorded.spans.get_finished_spans()]
    assert len(names) == len(set(names))
    assert tree(recorded)["denoising_loop"] == "dit_inference"
    assert attributes(recorded.span("dit_inference"))["rushes.clock"] == "host"
    assert attributes(recorded.span("vae_decode"))["output_frames"] == 7
    assert not [s for s in recorded.metrics("vae_decode_duration_seconds_count") if "SERVICE" in s]


def test_a_job_is_the_root_of_its_calls(tiny: Build, recorded: Recorded) -> None:
    made = tiny("ltx")
    instrument(made.pipe, model="JOB")
    with job(request_id="r-1", tier="premium", model="JOB", seconds=2.0) as running:
        made.run()
        made.run()
    uninstrument(made.pipe)
    root = recorded.span("video_generation_request")
    assert root.context is not None
    assert f"{root.context.trace_id:032x}" == running.trace_id
    assert attributes(root)["request_id"] == "r-1"
    assert 0 < attributes(root)["rushes.attributed_ratio"] <= 1
    assert [s.parent for s in named(recorded, "dit_inference")] == [root.context] * 2
    for name in ("video_generation_request_total", "video_generation_duration_seconds_count"):
        assert [n for s, n in recorded.metrics(name).items() if 'model="JOB"' in s and "premium" in s] == [1]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(torch.OutOfMemoryError, "oom"), (TimeoutError, "timeout"), (ValueError, "internal")],
)
def test_a_job_that_fails_says_why(error: type[Exception], reason: str, recorded: Recorded) -> None:
    with pytest.raises(error), job(request_id="r-2", model=f"FAIL-{reason}"):
        raise error("no")
    assert attributes(recorded.span("video_generation_request"))["error.type"] == reason
    (series,) = [s for s in recorded.metrics("video_generation_failure_total") if f"FAIL-{reason}" in s]
    assert f'reason="{reason}"' in series
    with pytest.raises(ValueError, match="no tier 'gold'"), job(request_id="r", model="M", tier="gold"):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("network", ["own", "shared"])
def test_two_pipelines_at_once_keep_their_measurements_apart(
    network: str, tiny: Build, recorded: Recorded
) -> None:
    one, two = tiny("wan"), tiny("wan")
    plain = one.run(), two.run(num_inference_steps=5)
    if network == "shared":
        # Wan's VAE keeps the state of a decode in itself, and schedulers of a loop; the network can be shared.
        two.pipe.transformer = one.pipe.transformer
        plain = one.run(), two.run(num_inference_steps=5)
    instrument(one.pipe, model="ONE", sample_every=1)
    instrument(two.pipe, model="TWO", sample_every=1)
    start = threading.Barrier(2)
    results: dict[str, Any] = {}

    def go(name: str, made: Tiny, **call: Any) -> None:
        start.wait()
        for _ in range(3):
            results[name] = made.run(**call)

    threads = [
        threading.Thread(target=go, args=("one", one)),
        threading.Thread(target=go, args=("two", two), kwargs={"num_inference_steps": 5}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(results["one"], plain[0])
    assert torch.equal(results["two"], plain[1])
    spans = recorded.spans.get_finished_spans()
    traces = {s.context.trace_id: attributes(s)["model"] for s in spans if s.parent is None and s.context}
    assert sorted(traces.values()) == ["ONE"] * 3 + ["TWO"] * 3
    steps = dict.fromkeys(traces, 0)
    for span in named(recorded, "step_"):
        found = attributes(span)
        assert {k: found[f"rushes.executed.{k}"] for k in one.executed} == one.executed
        assert sum(found[f"rushes.ns.{k}"] for k in (*one.executed, "other")) == found["rushes.ns.total"]
        assert span.context is not None
        steps[span.context.trace_id] += 1
    assert {traces[trace]: n for trace, n in steps.items()} == {"ONE": 3, "TWO": 5}
    uninstrument(one.pipe)
    uninstrument(two.pipe)
    for module in one.pipe.transformer.modules():
        assert "forward" not in vars(module)


def test_no_prompt_reaches_telemetry(tiny: Build, recorded: Recorded) -> None:
    made = tiny("mochi")
    instrument(made.pipe, sample_every=1)
    made.run(prompt="canary-in-the-prompt")
    uninstrument(made.pipe)
    written = json.dumps([s.to_json() for s in recorded.spans.get_finished_spans()])
    assert "canary" not in written


@pytest.mark.parametrize("broken", ["_enter", "_begin_step", "finish"])
def test_a_mistake_of_ours_costs_the_measurement_only(
    broken: str, tiny: Build, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny("ltx")
    plain = made.run()

    def fail(*_: Any) -> None:
        raise LookupError("a mistake")

    monkeypatch.setattr(Call, broken, fail)
    set_strict(False)
    try:
        instrument(made.pipe, sample_every=1)
        assert torch.equal(plain, made.run())
    finally:
        set_strict(True)
        uninstrument(made.pipe)
    assert ACTIVE.get() is None
    assert len(named(recorded, "video_generation_request")) == 1


def test_what_is_no_pipeline_is_refused() -> None:
    for thing, told in ((torch.nn.Linear(1, 1), "not Linear"), (torch.nn.Linear, "not the class Linear")):
        with pytest.raises(TypeError, match=told):
            instrument(thing)
    with pytest.raises(TypeError, match=r"must be an integer, got 2\.5"):
        instrument(torch.nn.Linear(1, 1), sample_every=2.5)  # type: ignore[arg-type]
    uninstrument(3)


def test_copies_and_pipelines_that_share_components_are_not_half_measured(
    tiny: Build, recorded: Recorded
) -> None:
    made = tiny("latte")
    copied = copy.deepcopy(instrument(made.pipe))
    sharing = type(made.pipe)(**made.pipe.components)
    recorded.spans.clear()
    for other in (copied, sharing):
        other.set_progress_bar_config(disable=True)
        Tiny(other, made.call, made.executed, made.passes, made.frames).run()
        assert recorded.spans.get_finished_spans() == ()
    made.run()
    names = {span.name for span in recorded.spans.get_finished_spans()}
    assert {"video_generation_request", "dit_inference", "vae_decode"} <= names
    uninstrument(made.pipe)


class _Halving:
    def step(self, sample: Any) -> Any:
        return sample / 2


class _HomeMade:
    """A pipeline of somebody's own, whose network has a name that diffusers doesn't know."""

    def __init__(self) -> None:
        self.dit = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
        self.scheduler = _Halving()

    @property
    def components(self) -> dict[str, Any]:
        return {"dit": self.dit, "scheduler": self.scheduler}

    def __call__(self, sample: Any, num_inference_steps: int) -> Any:
        for _ in range(num_inference_steps):
            sample = self.scheduler.step(self.dit(sample))
        return sample


def test_a_network_under_another_name_is_measured_too(recorded: Recorded) -> None:
    pipe = _HomeMade()
    sample = torch.ones(1, 4)
    expected = pipe(sample, num_inference_steps=3)
    instrument(pipe, sample_every=1)
    assert torch.equal(pipe(sample, num_inference_steps=3), expected)
    assert [s.name for s in named(recorded, "step_")] == ["step_1", "step_2", "step_3"]
    mine = Family(("Sequential",), (Rule("0", "ffn"),))
    instrument(pipe, sample_every=1, families=[mine], model="HOME")
    recorded.spans.clear()
    pipe(sample, num_inference_steps=2)
    assert attributes(recorded.span("step_2"))["rushes.executed.ffn"] == 1
    uninstrument(pipe)


class _WithoutScheduler(_HomeMade):
    """One whose steps nobody but the network shows."""

    @property
    def components(self) -> dict[str, Any]:
        return {"dit": self.dit}

    def __call__(self, sample: Any, num_inference_steps: int) -> Any:
        for _ in range(num_inference_steps):
            sample = self.dit(sample)
        return sample


def test_without_a_scheduler_the_passes_are_the_steps_and_it_says_so(recorded: Recorded) -> None:
    pipe = _WithoutScheduler()
    del pipe.scheduler
    instrument(pipe)
    pipe(torch.ones(1, 4), num_inference_steps=2)
    uninstrument(pipe)
    assert len(named(recorded, "step_")) == 2
    said = [str(dict(r.log_record.attributes or {})) for r in recorded.logs.get_finished_logs()]
    assert any("each pass through the network counts as a step" in text for text in said)


@pytest.mark.parametrize(("said", "sampled"), [("3", {2, 5}), ("0", set()), ("often", {2})])
def test_the_environment_says_how_often_modules_are_measured(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, said: str, sampled: set[int]
) -> None:
    monkeypatch.setenv("RUSHES_SAMPLE_EVERY", said)
    pipe = _HomeMade()
    instrument(pipe, families=[Family(("Sequential",), (Rule("0", "ffn"),))])
    pipe(torch.ones(1, 4), num_inference_steps=6)
    uninstrument(pipe)
    steps = named(recorded, "step_")
    assert {n for n, s in enumerate(steps, 1) if "rushes.executed.ffn" in attributes(s)} == sampled


def test_an_interrupted_call_is_no_success(tiny: Build, recorded: Recorded) -> None:
    made = tiny("ltx")
    instrument(made.pipe)

    def interrupt(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.run(callback_on_step_end=interrupt)
    assert recorded.span("video_generation_request").status.description == "KeyboardInterrupt"
    uninstrument(made.pipe)
