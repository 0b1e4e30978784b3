"""One instrumented pipeline: what is wrapped while it is, and what happens around each of its calls.

Wrapped for as long as the pipeline is instrumented: its class's `__call__` (which does nothing for other pipelines of
that class), the text encoders, `encode_prompt`, `prepare_latents` and the decoders, since services call those on
their own. Wrapped during a call only: the scheduler, the denoisers, and on sampled steps the denoisers' modules. So
components may be exchanged, compiled or cached between calls.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from opentelemetry import trace as otel

from rushes.catalog import ROOT, declared_span
from rushes.instrument import boundaries
from rushes.instrument.active import ACTIVE
from rushes.instrument.call import Call
from rushes.instrument.clock import Clock, EventPool, GpuClock, HostClock
from rushes.instrument.denoiser import Denoiser, plan
from rushes.instrument.families import FAMILIES
from rushes.instrument.job import current_job
from rushes.instrument.kinds import Family, family_of
from rushes.instrument.parallel import attach_collectives, is_shared, parallelism
from rushes.instrument.totals import TOTALS
from rushes.instrument.wrapping import Attachment, attach, release
from rushes.instrument.writer import Writer, drain_waiting
from rushes.sdk import logs, tracing

__all__ = ["DENOISERS", "Options", "Session"]

DENOISERS: Final = ("transformer", "transformer_2", "unet")
_NO_DENOISERS: Final = (
    "text_encoder", "image_encoder", "vae", "audio_vae", "vocoder", "connectors", "safety_checker", "controlnet",
    "prompt_enhancer", "latent_upsampler",
)  # fmt: skip
_LOG: Final = logs.get_logger("instrument")
_pools: Final[dict[int, EventPool]] = {}
_pools_lock: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Options:
    """What `instrument` was asked for. `clock` makes the clock of a call; None chooses by the pipeline's device."""

    model: str | None = None
    sample_every: int = 10
    families: tuple[Family, ...] = ()
    clock: Callable[[], Clock] | None = None
    memory_peaks: bool = False


class Session:
    """The instrumentation of one pipeline, which it does not keep alive."""

    def __init__(self, pipe: Any, options: Options) -> None:
        self._pipe = weakref.ref(pipe)
        self._families = (*options.families, *FAMILIES)
        self._options = options
        self._boundaries: dict[str, tuple[int, list[Attachment]]] = {}
        self._said: set[str] = set()
        self._calls = 0
        self._lock = threading.RLock()
        self.closed = False
        self.finalizer: weakref.finalize[..., Any] | None = None
        self.model = options.model or self._default_model(pipe)
        self.sync()

    def _default_model(self, pipe: Any) -> str:
        for _, network in _denoisers(pipe):
            family = family_of(type(getattr(network, "_orig_mod", network)).__name__, self._families)
            if family is not None and family.model:
                return family.model
        return type(pipe).__name__.removesuffix("Pipeline")

    # What stays wrapped

    def sync(self) -> None:
        """Wraps the boundaries of the components that the pipeline has now, and lets go of those it had."""
        pipe = self._pipe()
        if pipe is None:
            return
        with self._lock:
            wanted = dict(boundaries.of(pipe))
            for name in [n for n, (known, _) in self._boundaries.items() if known != id(wanted.get(n))]:
                self._release(name)
            for name, obj in wanted.items():
                if name not in self._boundaries:
                    held: list[Attachment] = []
                    self._boundaries[name] = (id(obj), held)
                    for attr, make in boundaries.wrappers(name, obj, self):
                        attach(obj, attr, make, held)

    def _release(self, name: str) -> None:
        release(self._boundaries.pop(name)[1])

    def detach(self) -> None:
        """Takes all away that stays wrapped."""
        with self._lock:
            self.closed = True
            for name in list(self._boundaries):
                self._release(name)

    def is_calling(self, call: Call | None) -> bool:
        """Whether a call is this session's own: a pipeline's class that calls its parent's is one call, not two."""
        return call is not None and call.owner is self

    # Calls

    @contextmanager
    def call(self, arguments: Mapping[str, Any], *, whole: bool) -> Iterator[Call]:
        """Around the pipeline's call (`whole`), or around a decoder or encoder that is called on its own."""
        pipe = self._pipe()
        drain_waiting()
        if whole:
            self.sync()
        with self._root(arguments) if whole else _here() as parent:
            clock = self._clock(pipe)
            writer = Writer(clock, parent, self.model, TOTALS, self._common(arguments), whole=whole)
            scheduler = getattr(pipe, "scheduler", None) if whole else None
            steps = callable(getattr(scheduler, "step", None))
            call = Call(
                clock,
                writer,
                sample_every=self._options.sample_every,
                has_scheduler=steps,
                host_ns=time.monotonic_ns,
            )
            call.resolution = _resolution(arguments)
            call.owner = self if whole else None
            attached: list[Attachment] = []
            token = ACTIVE.set(call)
            try:
                if whole:
                    self._calls += 1
                    if steps:
                        attach(scheduler, "step", _stepping, attached)
                    self._attach_denoisers(pipe, call, attached)
                yield call
            except BaseException as error:
                call.finish(error)
                raise
            else:
                call.finish()
            finally:
                ACTIVE.reset(token)
                release(attached)
                self._settle(parent, call, writer, whole=whole)

    def _attach_denoisers(self, pipe: Any, call: Call, attached: list[Attachment]) -> None:
        known = []
        compiled = False
        for name, network in _denoisers(pipe):
            denoiser = plan(network, self._families)
            known.append(network)
            compiled = compiled or denoiser.granularity != "module"
            in_place = getattr(network, "_compiled_call_impl", None) is not None
            called = "_compiled_call_impl" if in_place else "forward"
            attach(network, called, _passing(denoiser), attached)
            inner = getattr(network, "_orig_mod", network)
            if callable(getattr(inner, "cache_context", None)):
                attach(inner, "cache_context", _naming, attached)
            if not denoiser.recognised and denoiser.granularity == "module":
                self._say(pipe, f"{name}: {type(network).__name__}")
                if not call.has_scheduler:
                    self._say(pipe, "no scheduler: each pass through the network counts as a step")
        if not known:
            self._say(pipe, "no denoiser")
        if is_shared():
            found = next((p for p in map(parallelism, known) if p is not None), None)
            call.shares(
                {f"rushes.parallel.{key}": value for key, value in asdict(found).items()} if found else {}
            )
            if not compiled:  # torch.compile knows the collectives as they are, and would break at a wrapper
                attach_collectives(attached)

    def _say(self, pipe: Any, module: str) -> None:
        if module not in self._said:
            self._said.add(module)
            _LOG.warning(
                "instrument.unrecognised", model=self.model, pipeline=type(pipe).__name__, module=module
            )

    def _clock(self, pipe: Any) -> Clock:
        if self._options.clock is not None:
            return self._options.clock()
        device = getattr(pipe, "_execution_device", None)
        if device is None or device.type != "cuda":
            return HostClock()
        import torch  # noqa: PLC0415 - the base installation has none

        index = device.index if device.index is not None else torch.cuda.current_device()
        with _pools_lock:
            pool = _pools.setdefault(index, EventPool(lambda: torch.cuda.Event(enable_timing=True)))
        return GpuClock(pool, torch.cuda, index, reset_peaks=self._options.memory_peaks)

    def _common(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        steps = arguments.get("num_inference_steps")
        common: dict[str, Any] = {"steps": steps} if isinstance(steps, int) else {}
        if self._calls == 0:
            common["rushes.first_call"] = True
        return common

    # The root

    @contextmanager
    def _root(self, arguments: Mapping[str, Any]) -> Iterator[otel.Span]:
        current = otel.get_current_span()
        if current_job() is not None or declared_span(getattr(current, "name", "")) is not None:
            yield current
            return
        attributes: dict[str, Any] = {
            "model": self.model,
            "gen_ai.operation.name": "generate_content",
            "gen_ai.provider.name": "rushes",
            "gen_ai.output.type": "video",
            "gen_ai.request.model": self.model,
        }
        if isinstance(arguments.get("num_inference_steps"), int):
            attributes["steps"] = arguments["num_inference_steps"]
        seed = getattr(arguments.get("generator"), "initial_seed", None)
        if seed is not None:
            attributes["gen_ai.request.seed"] = int(seed())
        with tracing.span(ROOT, attributes) as root:
            yield root

    def _settle(self, parent: otel.Span, call: Call, writer: Writer, *, whole: bool) -> None:
        job = current_job()
        if job is not None:
            job.add(writer, call.resolution)
        elif whole and getattr(parent, "name", None) == ROOT:
            if call.resolution:
                parent.set_attribute("resolution", call.resolution)
            started = getattr(parent, "start_time", None)
            if writer.done and started:
                ratio = writer.attributed_ns / max(1, time.time_ns() - started)
                parent.set_attribute("rushes.attributed_ratio", min(1.0, ratio))


@contextmanager
def _here() -> Iterator[otel.Span]:
    yield otel.get_current_span()


def _denoisers(pipe: Any) -> list[tuple[str, Any]]:
    """The networks that denoise: under diffusers' names for them, or else every one that is known as nothing else."""
    named = [(name, getattr(pipe, name, None)) for name in DENOISERS]
    if found := [(name, network) for name, network in named if hasattr(network, "forward")]:
        return found
    components = getattr(pipe, "components", None)
    return [
        (name, network)
        for name, network in (components if isinstance(components, Mapping) else {}).items()
        if hasattr(network, "forward") and not name.startswith(_NO_DENOISERS)
    ]


def _resolution(arguments: Mapping[str, Any]) -> str | None:
    width, height = arguments.get("width"), arguments.get("height")
    return f"{width}x{height}" if isinstance(width, int) and isinstance(height, int) else None


def _stepping(original: Callable[..., Any]) -> Callable[..., Any]:
    get = ACTIVE.get

    def step(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        call = get()
        if call is not None:
            call.scheduler_stepped()
        return result

    return step


def _passing(denoiser: Denoiser) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    get = ACTIVE.get

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            call = get()
            if call is None:
                return original(*args, **kwargs)
            call.pass_begins(denoiser)
            try:
                return original(*args, **kwargs)
            finally:
                call.pass_ends()

        return forward

    return make


def _naming(original: Callable[..., Any]) -> Callable[..., Any]:
    get = ACTIVE.get

    def cache_context(*args: Any, **kwargs: Any) -> Any:
        call = get()
        if call is not None:
            name = kwargs.get("name", args[-1] if args else None)
            call.pass_name = name if isinstance(name, str) else None
        return original(*args, **kwargs)

    return cache_context
