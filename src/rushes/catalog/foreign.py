"""What the metrics of other video and image servers mean, so that they are more than names when they are scraped.

Only what their authors have published is here; a metric that is not listed has no meaning that we know of.

Sources, read in November 2026:
- vLLM-Omni: vllm_omni/metrics/{definitions,prometheus,modality,transfer}.py in the repository vllm-project/vllm-omni,
  and "Production Metrics" in its documentation (docs.vllm.ai/projects/vllm-omni). Releases before the namespace
  `vllm_omni:` wrote `vllm:omni_`.
- SGLang Diffusion: "Production Metrics" of SGLang Diffusion (docs.sglang.io/docs/sglang-diffusion).
- Tenstorrent's media server: tt-media-server/telemetry/*.py in the repository tenstorrent/tt-inference-server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rushes.catalog.model import Kind

__all__ = ["FOREIGN", "Meaning", "meaning_of"]

_PARTS: Final = ("_bucket", "_count", "_sum", "_created")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a metric of another program means.

    Attributes:
        name: the metric's own name, without the endings of a histogram's series.
        kind: its type.
        unit: UCUM, empty for counts and ratios.
        help: what it measures, in one sentence.
        program: whose it is.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    program: str


_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

_VLLM_OMNI: Final = (
    ("num_requests_running", _G, "", "Requests that are running in any stage of the pipeline"),
    ("num_requests_waiting", _G, "", "Requests that wait to be scheduled"),
    (
        "requests_success_total",
        _C,
        "",
        "Requests by the reason they ended for; abort includes clients that went away",
    ),
    (
        "e2e_request_latency_s",
        _H,
        "s",
        "Time of a request through the whole pipeline, from arrival to its end",
    ),
    ("prompt_tokens_total", _C, "", "Input tokens of all stages"),
    ("generation_tokens_total", _C, "", "Output tokens of all stages"),
    ("audio_ttfp_s", _H, "s", "Time from a request's arrival to its first packet of audio"),
    ("audio_duration_s", _H, "s", "Length of the audio that was generated"),
    (
        "audio_rtf",
        _H,
        "",
        "Time to generate audio over its length; above 1 it can't be streamed without gaps",
    ),
    ("audio_frames_total", _C, "", "Frames of audio that were generated"),
    ("transfer_size_bytes", _H, "By", "Size of what one hop from stage to stage carried"),
    ("transfer_tx_s", _H, "s", "Time that the sender of a hop took to serialise and submit"),
    ("transfer_rx_s", _H, "s", "Time that the receiver of a hop took to receive and decode"),
    ("transfer_in_flight_s", _H, "s", "Time of a hop between its sender's end and its receiver's beginning"),
)
_SGLANG: Final = (
    ("num_queue_reqs", _G, "", "Requests that wait for their first dispatch, warm-up included"),
    ("num_running_reqs", _G, "", "Requests that are dispatched and not finished, warm-up included"),
    (
        "requests_total",
        _C,
        "",
        "Requests that ended, by status and whether for warm-up; a batch counts each of its requests",
    ),
    (
        "request_latency_seconds",
        _H,
        "s",
        "Time from the scheduler's acceptance to the end, without HTTP and media encoding",
    ),
    ("queue_time_seconds", _H, "s", "Time in the scheduler's queue"),
    ("generation_batch_size", _H, "", "Requests in a batch when the scheduler dispatched it"),
    (
        "stage_host_latency_seconds",
        _H,
        "s",
        "Wall time of a stage on the host; GPU work may end in a later stage",
    ),
    ("lora_loaded_adapters", _G, "", "LoRA adapters that are loaded"),
    ("lora_active_modules", _G, "", "Modules that have an active LoRA adapter"),
    ("lora_active_adapters", _G, "", "Different LoRA adapters that are active"),
    ("lora_module_active", _G, "", "Whether a module has an active LoRA adapter now"),
)
_TT: Final = (
    ("requests_total", _C, "", "Requests, all in all"),
    ("request_duration_seconds", _H, "s", "Time of a request"),
    ("requests_base_duration_seconds", _H, "s", "Time of a request in the base service"),
    ("pre_processing_duration_seconds", _H, "s", "Time of what comes before the model"),
    ("post_processing_duration_seconds", _H, "s", "Time of what comes after the model"),
    ("model_inference_duration_seconds", _H, "s", "Time of the model's inference"),
    ("model_inference_total", _C, "", "Inferences of the model, by status"),
    ("device_warmup_duration_seconds", _H, "s", "Time that a device took to warm up"),
    ("device_warmup_total", _C, "", "Warm-ups of a device, by status"),
    ("model_load_total", _C, "", "Loadings of a model, by status"),
    ("download_result_duration_seconds", _H, "s", "Time of a result's download"),
    ("download_result_total", _C, "", "Downloads of results, by status"),
    ("video_denoise_duration_seconds", _H, "s", "Time of the whole denoising loop of one video"),
    (
        "video_vae_decode_duration_seconds",
        _H,
        "s",
        "Time of the VAE's decode of one video, latents to pixels",
    ),
    ("video_vae_frames_total", _C, "", "Frames that the VAE has decoded"),
    ("video_vae_pixels_total", _C, "", "Pixels that the VAE has decoded"),
    ("video_requested_aspect_ratio_total", _C, "", "Requests for videos by the aspect ratio they asked for"),
    ("video_requested_duration_seconds", _H, "s", "Length of the clips that were asked for"),
    ("image_requests_by_shape_total", _C, "", "Requests for images by what they are conditioned on"),
    ("image_requested_steps", _H, "", "Denoising steps that were asked for"),
    ("image_requested_guidance_scale", _H, "", "Guidance scale that was asked for"),
    ("image_denoise_steps_total", _C, "", "Denoising steps that were completed"),
    ("image_denoise_step_duration_seconds", _H, "s", "Time of one denoising step"),
    ("image_denoise_duration_seconds", _H, "s", "Time of the whole denoising loop"),
    ("image_vae_decode_duration_seconds", _H, "s", "Time of the VAE's decode, latents to pixels"),
    ("image_vae_images_total", _C, "", "Images that the VAE has decoded"),
    ("image_vae_pixels_total", _C, "", "Pixels that the VAE has decoded"),
    (
        "image_conditioning_duration_seconds",
        _H,
        "s",
        "Time to encode text, image or control inputs; encoder=all includes the others",
    ),
    ("image_engine_duration_seconds", _H, "s", "Time of an image in the engine, all in all"),
    ("image_teacache_steps_total", _C, "", "Denoising steps by whether TeaCache answered for them"),
)

FOREIGN: Final[dict[str, Meaning]] = {
    prefix + name: Meaning(prefix + name, kind, unit, help_, program)
    for prefix, program, metrics in (
        ("vllm_omni:", "vLLM-Omni", _VLLM_OMNI),
        ("vllm:omni_", "vLLM-Omni", _VLLM_OMNI),
        ("sglang:diffusion_", "SGLang Diffusion", _SGLANG),
        ("tt_media_server_", "Tenstorrent media server", _TT),
    )
    for name, kind, unit, help_ in metrics
}
"""Every metric of another program whose meaning is known, by name."""


def meaning_of(metric: str) -> Meaning | None:
    """What a metric means, by its name or by that of one of a histogram's series; None if it isn't known."""
    found = FOREIGN.get(metric)
    if found is not None:
        return found
    for part in _PARTS:
        stem = metric.removesuffix(part)
        if stem != metric:
            of = FOREIGN.get(stem)
            if of is not None and (of.kind is _H or part == "_created"):
                return of
    return FOREIGN.get(f"{metric}_total")  # the name of a counter's family
