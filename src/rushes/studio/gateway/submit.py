"""Accepting a video: the way of a POST from its key to its place in the queue, as the trace shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from starlette.concurrency import run_in_threadpool

from rushes.catalog import Tier, prompt_hash
from rushes.sdk import instruments, logs, tracing
from rushes.studio.gateway import errors, limits
from rushes.studio.gateway.access import authenticate, client_network
from rushes.studio.gateway.body import read_fields
from rushes.studio.gateway.picture import fitted
from rushes.studio.gateway.repeat import earlier, repeatable
from rushes.studio.gateway.request import VideoRequest, parse_request
from rushes.studio.jobs import Job, QueueFullError, Stage, new_job_id
from rushes.studio.keys import (
    AlreadySubmittedError,
    InsufficientCreditsError,
    KeyRefusedError,
    QuotaExceededError,
    credits_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import sqlalchemy as sa
    from starlette.requests import Request

    from rushes.studio.jobs import JobStore, Outlook
    from rushes.studio.keys import ApiKey, KeyStore, RateLimiter, Repeatable
    from rushes.studio.models.card import ModelCard

_LOG: Final = logs.get_logger("gateway")


class Accepted(NamedTuple):
    """A POST's video, and whether it was made by an earlier POST of the same request."""

    job: Job
    prompt: str
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a POST needs."""

    store: JobStore
    keys: KeyStore
    cards: Mapping[str, ModelCard]
    prices: Mapping[str, int]
    unavailable: Mapping[str, str]
    limiter: RateLimiter
    outlook: Outlook
    hash_key: bytes
    clock: Callable[[], int]

    async def accept(self, request: Request) -> Accepted:
        """Accepts the video that the request asks for, or finds the one that it made when it was sent first.

        Its root span is only drawn here and written by whoever ends the job; a request that is refused, or that
        makes no new video, leaves its `gateway` span behind, alone in its trace.

        Raises:
            ApiError: it is refused.
        """
        root = tracing.new_root(traceparent=request.headers.get("traceparent"))
        with tracing.under(root), tracing.span("gateway") as span:
            if network := client_network(request):
                span.set_attribute("ip", network)
            key: ApiKey | None = None
            try:
                with tracing.span("auth.validate"):
                    key = await authenticate(request, self.keys)
                span.set_attributes({"user_id": key.id, "tier": key.tier})
                with tracing.span("rate_limit.check"):
                    if wait_s := self.limiter.take(key):
                        raise errors.too_many_requests(key.rate_limit_per_minute, wait_s)
                accepted = await self._make(request, key, root)
                span.set_attribute("tier", accepted.job.tier)
            except errors.ApiError as error:
                _LOG.warning(
                    "gateway.request.refused",
                    status=error.status,
                    code=error.code,
                    key_id=key.id if key else None,
                    key_last4=key.last_four if key else None,
                )
                raise
            finally:
                if key is not None:
                    limits.note_videos(request, await run_in_threadpool(self.keys.videos_left, key))
        return accepted

    async def _make(self, request: Request, key: ApiKey, root: tracing.Root) -> Accepted:
        fields = await read_fields(request)
        named = repeatable(request, key, fields, self.hash_key)
        if named is not None and (job := await self._earlier(named)):
            return Accepted(job, str(fields["prompt"]), replayed=True)
        wanted = parse_request(fields, self.cards, key_tier=key.tier, unavailable=self.unavailable)
        try:
            await run_in_threadpool(self._check_depth, wanted.tier)
            picture = None
            if wanted.reference is not None:
                picture = await run_in_threadpool(fitted, wanted.reference, wanted.width, wanted.height)
            job = await self._reserve(key, wanted, root, named, picture)
        except (AlreadySubmittedError, errors.ApiError):
            # Its twin may have come between the two looks, and taken the place or the quota that this one lacks.
            job = None if named is None else await self._earlier(named)
            if job is None:
                raise
            return Accepted(job, wanted.prompt.text, replayed=True)
        self._tell(job, wanted)
        return Accepted(job, wanted.prompt.text, replayed=False)

    async def _earlier(self, named: Repeatable) -> Job | None:
        return await run_in_threadpool(earlier, named, self.store, at_ns=self.clock())

    async def _reserve(
        self,
        key: ApiKey,
        wanted: VideoRequest,
        root: tracing.Root,
        named: Repeatable | None,
        picture: bytes | None,
    ) -> Job:
        cost = credits_for(wanted.seconds, wanted.card.name, self.prices)
        try:
            with tracing.span("quota.verify"):
                await run_in_threadpool(self.keys.verify, key, cost)
            # What was verified may be gone by now: the transaction that takes it has the last word.
            job = self._job(key, wanted, root, cost)

            def first(conn: sa.Connection) -> None:
                if named is not None:
                    named.remember(conn, job.id, at_ns=job.accepted_ns)
                self.outlook.admit(conn, wanted.tier)

            await run_in_threadpool(
                self.store.create,
                job,
                key=key,
                prompt=wanted.prompt,
                picture=picture,
                first=first,
            )
        except KeyRefusedError as refusal:
            raise _refused(refusal) from None
        except QueueFullError as refusal:
            full = await run_in_threadpool(self.outlook.told, refusal)
            raise errors.queue_full(full.depth, full.retry_after_s) from None
        return job

    def _job(self, key: ApiKey, wanted: VideoRequest, root: tracing.Root, cost: int) -> Job:
        return Job(
            id=new_job_id(),
            key_id=key.id,
            tier=wanted.tier,
            model=wanted.card.name,
            seconds=wanted.seconds,
            width=wanted.width,
            height=wanted.height,
            num_frames=wanted.num_frames,
            fps=wanted.card.fps,
            steps=wanted.steps,
            seed=wanted.seed,
            guidance_scale=wanted.guidance_scale,
            trace_id=root.trace_id,
            root_span_id=root.span_id,
            parent_span_id=root.parent_span_id,
            accepted_ns=root.started_ns,
            ready_ns=root.started_ns,
            credits_reserved=cost,
            stages=(Stage("gateway", root.started_ns, max(root.started_ns, self.clock())),),
        )

    def _check_depth(self, tier: str) -> None:
        if full := self.outlook.full(tier):
            raise errors.queue_full(full.depth, full.retry_after_s)

    def _tell(self, job: Job, wanted: VideoRequest) -> None:
        instruments.video_generation_request_total.add(1, tier=cast("Tier", job.tier), model=job.model)
        _LOG.info(
            "generation.job.accepted",
            request_id=job.id,
            model=job.model,
            tier=job.tier,
            resolution=job.resolution,
            seconds=job.seconds,
            total_steps=job.steps or None,
            prompt_length=len(wanted.prompt.text),
            prompt_hash=prompt_hash(wanted.prompt.text, self.hash_key),
        )


def _refused(refusal: KeyRefusedError) -> errors.ApiError:
    headers = {"x-should-retry": "false"}
    status = 429
    if isinstance(refusal, QuotaExceededError):
        headers["retry-after"] = str(errors.whole_seconds(refusal.retry_after_s))
    elif isinstance(refusal, InsufficientCreditsError):
        status = 402
    return errors.ApiError(
        status, str(refusal), code="insufficient_quota", kind="insufficient_quota", headers=headers
    )
