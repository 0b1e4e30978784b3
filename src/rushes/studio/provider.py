"""VEO3 in the studio: the account that the settings name, as the gateway offers it and a worker uses it.

The prompt leaves this machine for Google's; nothing else of the job does. google-genai is an extra, so that nothing
here imports it before the first video is asked for.
"""

from __future__ import annotations

import importlib.metadata
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from opentelemetry.trace import StatusCode

from rushes.catalog import Secret
from rushes.sdk import logs, shield, tracing
from rushes.settings import Veo
from rushes.studio.jobs import NO_SEED, Job, JobPrompt
from rushes.studio.models import ModelCard, veo3

if TYPE_CHECKING:
    from rushes.instrument import veo as library

__all__ = ["Provider", "offer_veo"]

_LOG: Final = logs.get_logger("provider")
_UNCONFIGURED: Final = (
    "it is Google's API, and no account is configured for it; set RUSHES_VEO__API_KEY or RUSHES_VEO__PROJECT"
)
_MODELS: Final = {True: "veo-3.1-generate-001", False: "veo-3.1-generate-preview"}  # on Vertex AI or not
_VERTEX_ONLY: Final = 3  # google-genai's first version without videos from the Gemini Developer API


def offer_veo(settings: Veo) -> tuple[ModelCard | None, str]:
    """VEO3's card, or None and why it can't be served. Asks nobody: a wrong key shows with the first video."""
    if not settings.configured:
        return None, _UNCONFIGURED
    try:
        installed = importlib.metadata.version("google-genai")
    except importlib.metadata.PackageNotFoundError:
        return None, 'google-genai is not installed: pip install "rushes[veo]"'
    if not settings.on_vertex and int(installed.partition(".")[0]) >= _VERTEX_ONLY:
        return None, (
            f"google-genai {installed} makes videos with Vertex AI only; set RUSHES_VEO__PROJECT, or "
            'RUSHES_VEO__VERTEX=true for a key of Vertex AI, or pip install "google-genai<3"'
        )
    return veo3.card(takes_seed=settings.on_vertex), ""


class _Spans:
    """The library's stages as spans under the current one."""

    def stage_ended(self, stage: library.Stage) -> None:
        span = tracing.open_span(f"rushes.veo.{stage.name}", stage.start_ns, dict(stage.attributes))
        if stage.failure is not None:
            span.set_status(StatusCode.ERROR, stage.failure.code)
        span.end(stage.end_ns)


class Provider:
    """Google's API with the account of the settings; one a worker process.

    Used as a context: while it is open, no telemetry of this process shows the key.
    """

    def __init__(self, settings: Veo) -> None:
        self._settings: Final = settings
        self._made: library.VeoClient | None = None
        self._open: Final = ExitStack()
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """Google's name of the model."""
        return self._settings.model or _MODELS[self._settings.on_vertex]

    def __enter__(self) -> Self:
        key = self._settings.api_key
        if key is not None:
            self._open.enter_context(shield(Secret(key.get_secret_value())))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def client(self) -> library.VeoClient:
        """The client, made when first asked for. Raises ModuleNotFoundError without google-genai."""
        from google import genai
        from google.genai import types

        from rushes.instrument import veo as library

        with self._lock:
            if self._made is None:
                veo = self._settings
                google = genai.Client(
                    vertexai=veo.on_vertex,
                    api_key=veo.api_key.get_secret_value() if veo.api_key else None,
                    project=veo.project,
                    location=veo.location if veo.project else None,
                    http_options=types.HttpOptions(base_url=veo.url) if veo.url else None,
                )
                made = library.VeoClient(
                    google, poll_s=veo.poll_s, timeout_s=veo.timeout_s, telemetry=_Spans()
                )
                self._open.callback(google.close)
                self._made = made
            return self._made

    def request(self, job: Job, texts: JobPrompt, picture: bytes | None = None) -> library.VeoRequest:
        """The job in Google's terms. Sizes are those of the card; `picture` is a PNG."""
        from rushes.instrument import veo as library

        return library.VeoRequest(
            model=self.model,
            prompt=texts.text,
            negative_prompt=texts.negative or None,
            image_png=picture,
            seconds=round(job.seconds),
            aspect_ratio="16:9" if job.width > job.height else "9:16",
            resolution=f"{min(job.width, job.height)}p",
            seed=None if job.seed == NO_SEED else job.seed,
            audio=True if self._settings.on_vertex else None,
        )
