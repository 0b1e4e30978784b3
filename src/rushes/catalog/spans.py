"""The span tree of a video's generation, with the specification's names.

A span is written only for work that happened: a stage that did not run (audio of a silent model, a classifier
that is not there yet) has no span. Spans marked pending are declared by the specification and written by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rushes.catalog.labels import STEP_TYPES
from rushes.catalog.model import Attribute, Span, Status

__all__ = ["ROOT", "SPANS", "STAGES", "declared_span"]

ROOT: Final = "video_generation_request"

_MODEL: Final = Attribute("model", "the model, as the request named it")
_STEPS: Final = Attribute("steps", "denoising steps asked for")
_CLOCK: Final = Attribute("rushes.clock", "whose clock timed it: host or gpu")
_MEMORY: Final = (
    ("rushes.memory.allocated_bytes", "bytes that torch had allocated on the device at the stage's end"),
    ("rushes.memory.peak_bytes", "most bytes allocated during the stage, where that is known"),
)
_SUM: Final = (
    ("rushes.aggregated", "true: the span is a sum over modules; its length counts, not its place"),
    ("rushes.executed", "modules that ran"),
)
_RESOLUTION: Final = Attribute("resolution", "width x height in pixels")


def _span(
    name: str,
    parent: str | None,
    purpose: str,
    *attributes: tuple[str, str] | Attribute,
    status: Status = Status.STABLE,
    specified: bool = True,
    requires: str = "",
) -> Span:
    return Span(
        name=name,
        parent=parent,
        purpose=purpose,
        attributes=tuple(a if isinstance(a, Attribute) else Attribute(*a) for a in attributes),
        status=status,
        specified=specified,
        requires=requires,
    )


_TREE: Final = (
    _span(
        ROOT,
        None,
        "A request from its acceptance to the stored video",
        ("request_id", "the video's id"),
        ("tier", "the customer's tier"),
        _MODEL,
        _RESOLUTION,
        _STEPS,
        ("seconds", "length of the clip asked for"),
        ("rushes.attributed_ratio", "share of the root's time that its stages account for, 0 to 1"),
        ("rushes.media", "content-addressed name of the stored video"),
        ("rushes.attempts", "how often a worker had the video, in either role"),
        ("rushes.compute_seconds", "time that all attempts had a worker's device"),
        ("rushes.wasted_compute_seconds", "the part of it that the video owes nothing to"),
        ("rushes.compute_cost_usd", "what all attempts cost, where every price is known"),
        ("rushes.revenue_usd", "what the charged credits are worth, where that is known"),
        ("gen_ai.operation.name", "generate_content"),
        ("gen_ai.provider.name", "rushes"),
        ("gen_ai.output.type", "video"),
        ("gen_ai.request.model", "as model"),
        ("gen_ai.request.seed", "the seed"),
        ("gen_ai.response.id", "as request_id"),
        ("error.type", "the failure's reason"),
    ),
    _span(
        "gateway",
        ROOT,
        "Request ingestion",
        ("user_id", "the API key's id, never the key"),
        ("tier", "the customer's tier"),
        ("ip", "the client's network: the address cut to /24 (IPv4) or /48 (IPv6)"),
    ),
    _span("auth.validate", "gateway", "The API key is looked up by its hash"),
    _span("rate_limit.check", "gateway", "The key's rate limit"),
    _span("quota.verify", "gateway", "The key's daily quota and its credits"),
    _span(
        "rushes.encode_wait",
        ROOT,
        "Accepted, waiting for a worker in the role encode",
        specified=False,
    ),
    _span(
        "prompt_processing",
        ROOT,
        "Text encoding + safety",
        ("prompt_length", "characters of the prompt"),
        ("safety_score", "score of the prompt classifier, where one ran"),
        _CLOCK,
        *_MEMORY,
    ),
    _span(
        "text_encoder.t5xxl", "prompt_processing", "The prompt through the model's T5 encoder", _MODEL, _CLOCK
    ),
    _span(
        "text_encoder.clip",
        "prompt_processing",
        "The prompt through the model's CLIP encoder",
        _MODEL,
        _CLOCK,
        requires="a model with a CLIP encoder",
    ),
    _span(
        "text_encoder.gemma3",
        "prompt_processing",
        "The prompt through the model's Gemma 3 encoder",
        _MODEL,
        _CLOCK,
        specified=False,
    ),
    *(
        _span(
            f"text_encoder.{role}",
            "prompt_processing",
            f"The prompt through the model's {what}",
            _MODEL,
            _CLOCK,
            specified=False,
            requires="a model with such an encoder",
        )
        for role, what in (
            ("umt5", "UMT5 encoder"),
            ("llama", "Llama encoder"),
            ("qwen2_5_vl", "Qwen2.5-VL encoder"),
            ("other", "encoder of another kind"),
        )
    ),
    _span("safety.pregen", "prompt_processing", "Checks of the prompt before anything is generated"),
    _span("blocklist.check", "safety.pregen", "Forbidden terms in normalised views of the prompt"),
    _span("promptguard.classify", "safety.pregen", "Prompt-injection classifier", status=Status.PENDING),
    _span("conceptguard.analyze", "safety.pregen", "Concept classifier", status=Status.PENDING),
    _span(
        "queue_wait",
        ROOT,
        "Queue time",
        ("queue_depth", "jobs that waited when this one left the queue, itself included"),
        ("priority", "the place in the queue: the lowest number is served first"),
    ),
    _span("scheduler.assign", "queue_wait", "From the worker's taking the job to its start on it"),
    _span(
        "rushes.interrupted",
        ROOT,
        "What a worker did before it was lost, and the time until that was noticed",
        ("worker_id", "the worker"),
        _MODEL,
        ("step", "denoising steps it had done"),
        specified=False,
        requires="a worker that was lost",
    ),
    _span(
        "rushes.retried",
        ROOT,
        "What a worker did last before it gave the job back, since another try may go well",
        _MODEL,
        ("reason", "what went wrong, as video_generation_failure_total has it"),
        ("retry_after_s", "seconds until the next try"),
        specified=False,
        requires="a render that failed for a passing reason",
    ),
    _span(
        "worker_setup",
        ROOT,
        "The worker makes ready for the job",
        ("worker_id", "the worker"),
        ("rushes.careful", "true: it renders with less memory, after it ran out of it"),
    ),
    _span(
        "model.load_check",
        "worker_setup",
        "Finds the model loaded, or loads it",
        _MODEL,
        ("rushes.cache_hit", "true when the model was loaded already"),
    ),
    _span(
        "memory.allocate",
        "worker_setup",
        "Device memory is reserved (CUDA only; a CPU has none to reserve)",
        status=Status.PENDING,
    ),
    _span(
        "dit_inference",
        ROOT,
        "Core generation",
        _MODEL,
        _STEPS,
        _RESOLUTION,
        _CLOCK,
        ("rushes.resumed_after", "steps that came from a checkpoint, where the loop was taken up"),
        ("rushes.first_call", "true for the first call of a pipeline, which pays for warming up"),
        ("rushes.cache_hit_ratio", "share of the modules a cache watches that it answered for, 0 to 1"),
        ("rushes.parallel.mode", "context, tensor or fsdp, where several processes share the network"),
        ("rushes.parallel.rank", "this process among them, from 0"),
        ("rushes.parallel.degree", "how many they are"),
        *_MEMORY,
    ),
    _span("noise.initialize", "dit_inference", "Initial latents", _CLOCK),
    _span("denoising_loop", "dit_inference", "All denoising steps"),
    _span(
        "step_N",
        "denoising_loop",
        "Individual step",
        ("step_duration_ms", "the step's time in milliseconds"),
        ("gpu_util", "GPU utilisation in percent during the step, where a GPU is"),
        ("step", "the step's number, from 1"),
        _CLOCK,
        ("rushes.first_step", "true for a loop's first step, which pays for warming up"),
        ("rushes.passes", "passes through the network: guidance may take several"),
        ("rushes.pass_names", "what the pipeline calls them: cond, uncond"),
        ("rushes.pass_ms", "milliseconds of each pass, where there are several"),
        ("rushes.granularity", "block or model where compiled code can't be divided further"),
        *((f"rushes.ns.{kind}", f"nanoseconds of the step: {kind}") for kind in STEP_TYPES),
        *((f"rushes.executed.{kind}", f"modules that ran: {kind}") for kind in STEP_TYPES),
        *((f"rushes.skipped.{kind}", f"modules that a cache answered for: {kind}") for kind in STEP_TYPES),
        ("rushes.parallel.comm_ns", "nanoseconds of the step that its work stood still for collectives"),
        ("rushes.parallel.collectives", "collectives of the step"),
        ("rushes.ns.block", "nanoseconds of the step in compiled blocks"),
        ("rushes.executed.block", "compiled blocks that ran"),
    ),
    *(
        _span(kind, "step_N", f"Time of the step's {what}", *_SUM)
        for kind, what in (
            ("spatial_attn", "spatial attention"),
            ("temporal_attn", "temporal attention"),
            ("cross_attn", "cross-attention to the text"),
            ("ffn", "feed-forward layers"),
        )
    ),
    *(
        _span(kind, "step_N", f"Time of the step's {what}", *_SUM, specified=False)
        for kind, what in (
            ("joint_attn", "attention over space and time, or with the text, in one"),
            ("audio", "modules that denoise the sound"),
            ("other", "rest: embeddings, norms, guidance, the scheduler"),
        )
    ),
    _span(
        "checkpoint.save",
        "step_N",
        "The denoiser's state is written",
        ("step", "the steps it holds"),
        ("size_bytes", "the file's size"),
        requires="a loop longer than RUSHES_CHECKPOINT_EVERY",
    ),
    _span(
        "vae_decode",
        ROOT,
        "Latent to video",
        ("decode_time_ms", "time of the decode in milliseconds"),
        ("output_frames", "frames that came out"),
        _CLOCK,
        ("rushes.decoder_calls", "calls of the inner decoder: one a tile or a chunk of frames"),
        *_MEMORY,
    ),
    _span(
        "temporal_upsample",
        "vae_decode",
        "The decoder's temporal upsampling",
        *_SUM,
        requires="a decoder that upsamples time apart from space",
    ),
    _span(
        "spatial_upsample",
        "vae_decode",
        "The decoder's spatial upsampling",
        *_SUM,
        requires="a decoder that upsamples space apart from time",
    ),
    _span(
        "audio_generation",
        ROOT,
        "Audio latents to sound; only for models with audio",
        ("sample_rate", "samples a second"),
        _CLOCK,
        *_MEMORY,
    ),
    _span(
        "rushes.provider",
        ROOT,
        "The video is made by somebody else's API: handed over, waited for, fetched",
        _MODEL,
        ("worker_id", "the worker that waits"),
        ("rushes.resumed", "true: it was handed over before, by a worker that is gone, and is only fetched"),
        ("rushes.interrupted", "true: the worker was lost; written for it by whoever noticed"),
        specified=False,
        requires="VEO3 configured",
    ),
    *(
        _span(
            f"rushes.veo.{stage}",
            "rushes.provider",
            purpose,
            ("gen_ai.operation.name", "generate_content"),
            ("gen_ai.provider.name", "gcp.vertex_ai or gcp.gemini"),
            ("gen_ai.output.type", "video"),
            ("gen_ai.request.model", "Google's name of the model"),
            ("gen_ai.response.id", "Google's id of the operation"),
            ("error.type", "the failure's code"),
            ("cancelled", "true: the video was given up meanwhile; Google may make it all the same"),
            *attributes,
            specified=False,
            requires="VEO3 configured",
        )
        for stage, purpose, *attributes in (
            ("submit", "The request is handed to Google, once", ("gen_ai.request.seed", "the seed")),
            ("wait", "Google is asked again and again whether the video is ready", ("polls", "how often")),
            (
                "download",
                "The video is fetched",
                ("attempts", "how often it was tried"),
                ("size_bytes", "the file's size"),
            ),
        )
    ),
    _span(
        "safety_postgen",
        ROOT,
        "Output validation",
        ("classifiers", "the classifiers that ran"),
        ("scores", "their scores"),
        status=Status.PENDING,
    ),
    _span("nsfw.classify", "safety_postgen", "Nudity in frames", status=Status.PENDING),
    _span("deepfake.detect", "safety_postgen", "Synthetic likeness of a person", status=Status.PENDING),
    _span("violence.classify", "safety_postgen", "Violence in frames", status=Status.PENDING),
    _span("watermark", ROOT, "Provenance is attached", status=Status.PENDING),
    _span("c2pa.embed", "watermark", "A signed C2PA manifest is embedded", status=Status.PENDING),
    _span(
        "transcode",
        ROOT,
        "Format conversion",
        ("codec", "the video codec"),
        ("bitrate", "bits per second of the file"),
        (
            "rushes.upsize_factor",
            "how many times larger the file's frames are than the model's, where they are",
        ),
        ("rushes.upsize_method", "how they were made larger: nearest, lanczos"),
    ),
    _span("x264.encode", "transcode", "libx264 encoded", specified=False),
    _span("nvenc.encode", "transcode", "NVENC encoded", requires="a GPU with NVENC"),
    _span(
        "upload", ROOT, "The video is stored", ("rushes.media", "content-addressed name of the stored video")
    ),
    _span("storage.write", "upload", "The object is written", ("size_bytes", "the object's size")),
    _span("cdn.invalidate", "upload", "The CDN forgets older copies", status=Status.PENDING),
)

SPANS: Final[Mapping[str, Span]] = MappingProxyType({s.name: s for s in _TREE})
STAGES: Final = tuple(s.name for s in _TREE if s.parent == ROOT)


def declared_span(name: str) -> Span | None:
    """The declaration of a span by its name as written (`step_12` is declared as `step_N`), or None."""
    stem, _, number = name.rpartition("_")
    return SPANS.get(f"{stem}_N") if number.isdigit() else SPANS.get(name)
