"""The methods of a pipeline and its components at which stages begin and end.

Pipelines call `vae.decode` and `audio_vae.decode`, never their `forward`; text encoders and vocoders are called.
Each works during a pipeline's call, and on its own when a service calls it by itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from rushes.instrument.active import ACTIVE, UNMEASURED
from rushes.instrument.shielded import Shielded
from rushes.instrument.vae_parts import decoder_patches
from rushes.instrument.wrapping import Make

if TYPE_CHECKING:
    from rushes.instrument.call import Call
    from rushes.instrument.session import Session

__all__ = ["of", "role_of", "wrappers"]

_ENCODERS: Final = ("text_encoder", "text_encoder_2", "text_encoder_3")

# Video decoders whose answer has the frames before the channels.
_FRAMES_FIRST: Final = ("AutoencoderKLAllegro",)

Boundary = Callable[["Call", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

# By the beginning of the class's name, longest first.
_ROLES: Final = {
    "UMT5": "umt5",
    "T5": "t5xxl",
    "CLIP": "clip",
    "Gemma3": "gemma3",
    "Llama": "llama",
    "Qwen2_5_VL": "qwen2_5_vl",
}


def role_of(encoder: Any) -> str:
    """What the span of a text encoder is called: `text_encoder.<role>`."""
    name = type(getattr(encoder, "_orig_mod", encoder)).__name__
    return next((role for begins, role in _ROLES.items() if name.startswith(begins)), "other")


def of(pipe: Any) -> Iterator[tuple[str, Any]]:
    """The objects whose methods are boundaries, by the name that the pipeline gives them."""
    yield "pipe", pipe
    for name in (*_ENCODERS, "connectors", "vae", "audio_vae", "vocoder"):
        component = getattr(pipe, name, None)
        if component is not None and hasattr(component, "__dict__"):
            yield name, component


def wrappers(name: str, obj: Any, session: Session) -> Iterator[tuple[str, Make]]:
    """The attributes of one of those objects, and what goes around them."""
    for attr, boundary, loose in _boundaries(name, obj):
        if callable(getattr(obj, attr, None)):
            yield attr, _around(session, boundary, weakref.ref(obj), loose=loose)


def _boundaries(name: str, obj: Any) -> Iterator[tuple[str, Boundary, bool]]:
    """Attribute, what is noted of it, and whether it counts when it is called on its own."""
    called = "_compiled_call_impl" if getattr(obj, "_compiled_call_impl", None) is not None else "forward"
    match name:
        case "pipe":
            yield "encode_prompt", _prompt, True
            yield "prepare_latents", _noise, False
            yield "prepare_audio_latents", _noise, False
            yield "decode_latents", _decodes, True
        case "connectors":  # LTX2's way from the text encoder to the transformer
            yield called, _connectors, False
        case "vae":
            yield "decode", _Decoder("vae_decode", obj, None), True
        case "audio_vae":
            yield "decode", _Decoder("audio_generation", None, None), True
        case "vocoder":
            rate = getattr(getattr(obj, "config", None), "output_sampling_rate", None)
            yield called, _Decoder("audio_generation", None, rate), True
        case _:
            yield called, _Encoder(role_of(obj)), True


def _around(session: Session, boundary: Boundary, of: weakref.ref[Any], *, loose: bool) -> Make:
    get = ACTIVE.get

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def bounded(*args: Any, **kwargs: Any) -> Any:
            call = get()
            if call is not None:
                return boundary(call, original, args, kwargs)
            obj = of()
            copied = (
                bool(args) and args[0] is not obj and type(args[0]) is type(obj)
            )  # copy.deepcopy takes it along
            if not loose or copied or UNMEASURED.get():
                return original(*args, **kwargs)
            with Shielded(session.call({}, whole=False)) as own:
                return original(*args, **kwargs) if own is None else boundary(own, original, args, kwargs)

        return bounded

    return make


def _prompt(call: Call, original: Any, args: Any, kwargs: Any) -> Any:
    start = call.mark()
    try:
        return original(*args, **kwargs)
    finally:
        call.prompt(start)


def _connectors(call: Call, original: Any, args: Any, kwargs: Any) -> Any:
    try:
        return original(*args, **kwargs)
    finally:
        call.prompt_continues()


def _decodes(_call: Call, original: Any, args: Any, kwargs: Any) -> Any:
    """Nothing of its own: a service that calls it gets one stage, into however many goes the decoder divides it."""
    return original(*args, **kwargs)


def _noise(call: Call, original: Any, args: Any, kwargs: Any) -> Any:
    start = call.mark()
    result = original(*args, **kwargs)
    call.noise(start)
    return result


class _Encoder:
    def __init__(self, role: str) -> None:
        self._role = role

    def __call__(self, call: Call, original: Any, args: Any, kwargs: Any) -> Any:
        call.approach("prompt_processing")
        start = call.mark()
        try:
            return original(*args, **kwargs)
        finally:
            call.encoded(self._role, start)


class _Decoder:
    """A decoder's call: for the video's, with the parts that upsample and the calls of its inner decoder."""

    def __init__(self, stage: str, vae: Any, sample_rate: int | None) -> None:
        self._stage = stage
        self._vae = vae
        self._rate = sample_rate

    def __call__(self, call: Call, original: Any, args: Any, kwargs: Any) -> Any:
        parts: list[tuple[str, Any, Any]] = []
        attributes: dict[str, Any] = {}
        patches = None if self._vae is None else decoder_patches(self._vae)
        start = None
        try:
            if patches is not None:
                patches.put(parts)
            call.parts = parts
            call.approach(self._stage)
            start = call.mark()
            result = original(*args, **kwargs)
            if self._vae is not None:
                attributes |= _shape(call, self._vae, result)
            elif self._rate is not None:
                attributes["sample_rate"] = int(self._rate)
        finally:
            end = None if start is None else call.mark()
            call.parts = None
            if patches is not None:
                patches.take_away(parts)
            if start is not None:  # else its thread was cancelled before it began
                call.worked(self._stage, start, end, parts, attributes)
        return result


def _shape(call: Call, vae: Any, result: Any) -> dict[str, Any]:
    """Frames of what a VAE decoded: (batch, channels, frames, height, width), or frames as the batch."""
    sample = result[0] if isinstance(result, tuple) else getattr(result, "sample", None)
    shape: tuple[int, ...] = tuple(getattr(sample, "shape", ()))
    if len(shape) not in {4, 5}:
        return {}
    call.resolution = f"{shape[-1]}x{shape[-2]}"
    frames = 0 if len(shape) == 4 else 1 if type(vae).__name__ in _FRAMES_FIRST else 2  # noqa: PLR2004 - see above
    return {"output_frames": int(shape[frames])}
