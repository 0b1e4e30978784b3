"""Videos from Google's API, through google-genai: submit, wait, download, each with its time and its failure.

Works with the Gemini Developer API (an API key; google-genai 2) and with Vertex AI, now called Gemini Enterprise
Agent Platform (google-genai 2 and 3; 3 offers video there alone). All methods block.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

from google import genai
from google.genai import errors, types

from rushes.instrument.veo.failure import Failure, VeoCancelled, VeoError, blocked, of_error, of_operation
from rushes.instrument.veo.mp4 import is_whole
from rushes.instrument.veo.telemetry import AttributeValue, Silent, Stage, StageName, Telemetry

__all__ = ["Cancel", "VeoClient", "VeoRequest", "VeoResult"]

_DOWNLOAD_TRIES: Final = 3
_T = TypeVar("_T")


class Cancel(Protocol):
    """A `threading.Event` that the caller sets to give up."""

    def is_set(self) -> bool:
        """Whether to give up."""

    def wait(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds; True as soon as it is set."""


@dataclass(frozen=True, slots=True)
class VeoRequest:
    """What to make. What is None is the provider's default; `seed` and `audio` are Vertex AI's alone."""

    model: str
    prompt: str = field(repr=False)
    negative_prompt: str | None = field(default=None, repr=False)
    image_png: bytes | None = field(default=None, repr=False)  # what the video begins with
    seconds: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    seed: int | None = None
    audio: bool | None = None


@dataclass(frozen=True, slots=True)
class VeoResult:
    """A video that was made and stored. `operation` is the provider's name of the work."""

    operation: str
    path: Path
    size_bytes: int
    polls: int


class VeoClient:
    """Makes videos with a google-genai client, which holds the key.

    Args:
        client: made by the caller; it must not retry by itself (its default), or waiting adds up unseen.
        poll_s: seconds between two questions whether the video is ready.
        timeout_s: seconds from the beginning of `wait` until it is given up.
        request_timeout_s: seconds for one HTTP request.
        telemetry: told of each stage.
        clock: seconds that only grow.
        clock_ns: nanoseconds since the epoch.
    """

    def __init__(
        self,
        client: genai.Client,
        *,
        poll_s: float = 10.0,
        timeout_s: float = 900.0,
        request_timeout_s: float = 60.0,
        telemetry: Telemetry | None = None,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if poll_s <= 0:
            raise ValueError(f"poll_s is {poll_s}; give seconds above 0")
        self._client = client
        self._poll_s = poll_s
        self._timeout_s = timeout_s
        self._http = types.HttpOptions(timeout=int(request_timeout_s * 1000))
        self._telemetry = Silent() if telemetry is None else telemetry
        self._clock = clock
        self._clock_ns = clock_ns
        self._provider: Final = "gcp.vertex_ai" if client.vertexai else "gcp.gemini"

    def generate(self, request: VeoRequest, path: Path, *, cancel: Cancel | None = None) -> VeoResult:
        """Makes a video and stores it at `path`, which appears whole or not at all.

        Raises:
            VeoError: there is no video; its `failure` says why.
            VeoCancelled: `cancel` was set.
            ValueError: the request asks for what this API does not offer.
            OSError: the file can't be written.
        """
        stop = threading.Event() if cancel is None else cancel
        operation = self.submit(request, cancel=stop)
        video, polls = self._wait(operation, request.model, stop)
        size = self._download(video, path, operation, request.model, stop)
        return VeoResult(operation, path, size, polls)

    def submit(self, request: VeoRequest, *, cancel: Cancel | None = None) -> str:
        """Hands a request over, once: a second try might be made, and billed, twice. Returns the operation's name.

        Raises: as `generate`.
        """
        if not self._client.vertexai and (request.seed is not None or request.audio is not None):
            raise ValueError("seed and audio can be chosen with Vertex AI only; leave them out")
        if cancel is not None and cancel.is_set():
            raise VeoCancelled("cancelled before the request was sent")
        attributes = self._attributes(request.model)
        if request.seed is not None:
            attributes["gen_ai.request.seed"] = request.seed
        with self._stage("submit", attributes):
            operation = self._call(lambda: self._send(request), _UNSUPPORTED)
            if not operation.name:
                raise VeoError(_malformed("no operation"))
            attributes["gen_ai.response.id"] = _short(operation.name)
        return operation.name

    def _send(self, request: VeoRequest) -> types.GenerateVideosOperation:
        config = types.GenerateVideosConfig(
            http_options=self._http,
            number_of_videos=1,
            negative_prompt=request.negative_prompt,
            duration_seconds=request.seconds,
            aspect_ratio=request.aspect_ratio,
            resolution=request.resolution,
            seed=request.seed,
            generate_audio=request.audio,
        )
        png = request.image_png
        image = None if png is None else types.Image(image_bytes=png, mime_type="image/png")
        source = types.GenerateVideosSource(prompt=request.prompt, image=image)
        return self._client.models.generate_videos(model=request.model, source=source, config=config)

    def fetch(self, operation: str, path: Path, *, model: str, cancel: Cancel | None = None) -> VeoResult:
        """Waits for an operation that was submitted before, in this process or another, and stores its video.

        Raises: as `generate`.
        """
        stop = threading.Event() if cancel is None else cancel
        video, polls = self._wait(operation, model, stop)
        return VeoResult(operation, path, self._download(video, path, operation, model, stop), polls)

    def _wait(self, name: str, model: str, cancel: Cancel) -> tuple[types.Video, int]:
        deadline = self._clock() + self._timeout_s
        config = types.GetOperationConfig(http_options=self._http)
        known = types.GenerateVideosOperation.model_validate({"name": name})
        attributes = self._attributes(model, name)
        polls = 0
        with self._stage("wait", attributes):
            while True:
                pause, last = self._poll_s, ""
                polls += 1
                attributes["polls"] = polls
                try:
                    operation = self._call(lambda: self._client.operations.get(known, config=config))
                except VeoError as error:
                    if not error.failure.transient:
                        raise
                    pause = max(pause, error.failure.retry_after_s or 0.0)
                    last = error.failure.code
                else:
                    if operation.done:
                        return _video(operation), polls
                if self._clock() + pause > deadline:
                    raise VeoError(_too_late(self._timeout_s, last))
                if cancel.wait(pause):
                    raise VeoCancelled("cancelled while the video was made")

    def _download(self, video: types.Video, path: Path, name: str, model: str, cancel: Cancel) -> int:
        attributes = self._attributes(model, name)
        with self._stage("download", attributes):
            for attempt in range(1, _DOWNLOAD_TRIES + 1):
                if cancel.is_set():
                    raise VeoCancelled("cancelled while the video was downloaded")
                attributes["attempts"] = attempt
                try:
                    data = self._bytes(video)
                    break
                except VeoError as error:
                    if not error.failure.transient or attempt == _DOWNLOAD_TRIES:
                        raise
                    pause = max(self._poll_s, error.failure.retry_after_s or 0.0)
                cancel.wait(pause)
            attributes["size_bytes"] = len(data)
            _store(data, path)
        return len(data)

    def _bytes(self, video: types.Video) -> bytes:
        data = video.video_bytes
        if data is None:
            if self._client.vertexai:  # it was put into a bucket, which is not ours to read
                raise VeoError(_ELSEWHERE)
            config = types.DownloadFileConfig(http_options=self._http)
            # A copy: google-genai keeps what it downloaded in the object, broken or not.
            file = types.Video(uri=video.uri)
            data = self._call(lambda: self._client.files.download(file=file, config=config))
        if not is_whole(data):
            text = f"the video arrived incomplete ({len(data)} bytes); try again"
            raise VeoError(Failure("provider", "provider_incomplete_video", text, transient=True))
        return data

    def _call(self, call: Callable[[], _T], on_value_error: Failure | None = None) -> _T:
        """Calls google-genai. Its exceptions quote what was sent: none of them is passed on or chained.

        A ValueError is what it raises for an answer that it can't read, unless `on_value_error` says otherwise.
        """
        failure: Failure | None
        try:
            return call()
        except (json.JSONDecodeError, errors.UnknownApiResponseError):
            failure = _malformed("something that can't be read")
        except ValueError:
            failure = on_value_error or _malformed("something that can't be read")
        except Exception as error:
            failure = of_error(error, now_s=self._clock_ns() / 1e9)
            if failure is None:
                raise
        raise VeoError(failure)

    def _attributes(self, model: str, operation: str = "") -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "generate_content",
            "gen_ai.output.type": "video",
            "gen_ai.provider.name": self._provider,
            "gen_ai.request.model": model,
        }
        if operation:
            attributes["gen_ai.response.id"] = _short(operation)
        return attributes

    @contextmanager
    def _stage(self, name: StageName, attributes: dict[str, AttributeValue]) -> Iterator[None]:
        start_ns = self._clock_ns()
        failure = None
        try:
            yield
        except VeoError as error:
            failure = error.failure
            attributes["error.type"] = failure.code
            raise
        except VeoCancelled:
            attributes["cancelled"] = True
            raise
        finally:
            stage = Stage(name, start_ns, max(start_ns, self._clock_ns()), dict(attributes), failure)
            with contextlib.suppress(Exception):  # telemetry never ends a video
                self._telemetry.stage_ended(stage)


_UNSUPPORTED: Final = Failure(
    "provider",
    "provider_invalid_request",
    "google-genai can't send this request; its version 3 makes videos with Vertex AI only: "
    "use genai.Client(vertexai=True, ...), or google-genai 2 with an API key",
)

_ELSEWHERE: Final = Failure(
    "provider",
    "provider_malformed_answer",
    "Vertex AI put the video into a bucket instead of its answer; configure no output bucket",
)


def _short(operation: str) -> str:
    """The operation's own id; the whole name has the project in it."""
    return operation.rpartition("/")[2]


def _video(operation: types.GenerateVideosOperation) -> types.Video:
    if operation.error:
        raise VeoError(of_operation(operation.error))
    response = operation.response
    for generated in (response.generated_videos or ()) if response else ():
        if generated.video is not None:
            return generated.video
    if response and response.rai_media_filtered_count:
        raise VeoError(blocked())
    raise VeoError(_malformed("neither a video nor an error"))


def _malformed(what: str) -> Failure:
    text = f"Google's API answered with {what}; try again"
    return Failure("provider", "provider_malformed_answer", text, transient=True)


def _too_late(timeout_s: float, last: str) -> Failure:
    why = f"; the last answer was {last}" if last else ""
    return Failure("timeout", "provider_timeout", f"no video after {timeout_s:g} seconds{why}; try again")


def _store(data: bytes, path: Path) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
