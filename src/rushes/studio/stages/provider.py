"""rushes.provider: the video is made by Google's API, ordered once, whatever becomes of the workers that wait."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry.trace import Span
from sqlalchemy.exc import OperationalError

from rushes.catalog import Prompt
from rushes.sdk import shield
from rushes.studio.cost import Attempt, Book
from rushes.studio.failure import Cancelled, ProviderError
from rushes.studio.jobs import Operations, patiently
from rushes.studio.provider import Provider
from rushes.studio.render import Render
from rushes.studio.transcode import TranscodeError, look_into

__all__ = ["is_local", "is_remote", "run"]

_LOOK_S: Final = 0.5  # how soon a cancellation is noticed


def is_remote(render: Render) -> bool:
    """Whether somebody else makes the video."""
    return render.remote


def is_local(render: Render) -> bool:
    """Whether the worker makes the video itself."""
    return not render.remote


class _GiveUp:
    """Set once the job is no longer this worker's to wait for, or the worker is to end. To look is to say: alive."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def is_set(self) -> bool:
        render = self._render
        if render.tools.stopping.is_set() or render.overdue:
            return True
        try:
            return not render.tools.store.say_alive(render.job)
        except OperationalError:
            return False  # a database that is away for a moment is no reason to leave a paid video

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not self.is_set() and (left := deadline - time.monotonic()) > 0:
            self._render.tools.stopping.wait(min(_LOOK_S, left))
        return self.is_set()


def run(render: Render, span: Span) -> None:
    """Raises ProviderError, Cancelled, TimeLimitExceeded."""
    provider, job = render.tools.provider, render.job
    span.set_attributes({"model": job.model, "worker_id": render.tools.worker_id})
    if provider is None:
        text = f"{job.model} is not configured on worker {render.tools.worker_id}; see `rushes doctor`"
        raise ProviderError("provider", "model_unavailable", text)
    path = render.file_path
    render.folder.mkdir(parents=True, exist_ok=True)
    from rushes.instrument.veo import VeoCancelled, VeoError

    give_up = _GiveUp(render)
    try:
        name = _ordered(render, provider, give_up, span)
        provider.client().fetch(name, path, model=provider.model, cancel=give_up)
    except VeoCancelled:
        render.raise_if_overdue()
        raise Cancelled(job.id) from None
    except VeoError as error:
        failure = error.failure
        raise ProviderError(
            failure.reason,
            failure.code,
            failure.message,
            transient=failure.transient,
            retry_after_s=failure.retry_after_s,
        ) from None
    try:
        look_into(path)
    except TranscodeError:
        text = "Google's API sent a file that is no playable video; submit the video again"
        raise ProviderError("provider", "provider_malformed_answer", text) from None
    render.file = path
    _bill(render)


def _bill(render: Render) -> None:
    """Notes what the provider charges for: the seconds of video that were ordered, once for a job."""
    job, now = render.job, time.time_ns()
    Book(render.tools.store.engine).open(
        Attempt(
            job_id=job.id,
            number=0,
            role="provider",
            tier=job.tier,
            model=job.model,
            device=job.model,
            device_kind="provider",
            usd_per_second=render.tools.provider_usd_per_second,
            start_ns=now,
            end_ns=now + round(job.seconds * 1e9),
        )
    )


def _ordered(render: Render, provider: Provider, give_up: _GiveUp, span: Span) -> str:
    """The name of the job's order at the provider: the one that was sent before, or a new one."""
    from rushes.instrument.veo import VeoError

    store, job = render.tools.store, render.job
    orders = Operations(store.engine)
    order = orders.of(job)
    if order is None:
        texts = store.prompt(job.id)
        render.kept.enter_context(shield(Prompt(texts.text), Prompt(texts.negative)))
        client, request = provider.client(), provider.request(job, texts, store.picture(job.id))
        if give_up.is_set():
            raise Cancelled(job.id)
        orders.begin(job, time.time_ns())
        try:
            name = client.submit(request)
        except VeoError as error:
            if error.failure.code == "provider_quota_exceeded":
                orders.forget(job)  # refused for certain: it may be sent again
            raise
        patiently(lambda: orders.name(job, name))
        return name
    if order.name is None:
        text = (
            "a worker died while it handed the video to Google's API; whether it arrived is not known, and it was "
            "not sent twice; submit the video again"
        )
        raise ProviderError("provider", "provider_order_unknown", text)
    span.set_attribute("rushes.resumed", True)
    return order.name
