"""The gateway's routes: OpenAI's Videos API, so that its official client works unchanged, and a few beside it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from rushes.sdk import logs
from rushes.studio.gateway.access import authenticate
from rushes.studio.gateway.content import content_response
from rushes.studio.gateway.errors import ApiError, bad_value, error_response, no_such_video, shown
from rushes.studio.gateway.events import event_id, progress_events
from rushes.studio.gateway.limits import LimitHeaders
from rushes.studio.gateway.middleware import Watch
from rushes.studio.gateway.openapi import document
from rushes.studio.gateway.submit import Submission
from rushes.studio.gateway.video import video_object
from rushes.studio.jobs import JOB_ID, Outlook, PromptUnreadableError, remove_unused
from rushes.studio.keys import RateLimiter
from rushes.studio.storage import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request

    from rushes.studio.gateway.protocols import VideoMedia
    from rushes.studio.jobs import Job, JobStore
    from rushes.studio.keys import KeyStore
    from rushes.studio.models.card import ModelCard

_LOG: Final = logs.get_logger("gateway")
_PAGE: Final = 20
_LARGEST_PAGE: Final = 100
_POLL_AFTER_MS: Final = "250"
_CODES: Final = {404: "not_found", 405: "method_not_allowed"}


def create_app(
    *,
    store: JobStore,
    keys: KeyStore,
    cards: Mapping[str, ModelCard],
    media: VideoMedia,
    prices: Mapping[str, int],
    on_cancelled: Callable[[Job], None],
    hash_key: bytes,
    unavailable: Mapping[str, str] = MappingProxyType({}),
    outlook: Outlook | None = None,
    limiter: RateLimiter | None = None,
    clock: Callable[[], int] = time.time_ns,
    extra_routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """The gateway as an ASGI app.

    Args:
        store: the jobs.
        keys: who may do what.
        cards: the models on offer, by name.
        media: the stored videos.
        prices: credits a second of video, for each model.
        on_cancelled: told once of each job that a caller cancelled, as it is afterwards.
        hash_key: keys the hashes that stand for prompts in logs, and for requests that may be repeated.
        unavailable: models that exist and can't be served, with the reason that the caller is told.
        outlook: how full the queue may be and what it will do; by default with the usual limits.
        limiter: the rate limit's buckets.
        clock: Unix nanoseconds.
        extra_routes: such as /metrics; they are counted like the others.

    Raises:
        ValueError: a model has no price.
    """
    if unpriced := sorted(set(cards) - set(prices)):
        msg = f"no price is set for {', '.join(unpriced)}"
        raise ValueError(msg)
    submission = Submission(
        store=store,
        keys=keys,
        cards=cards,
        prices=prices,
        unavailable=unavailable,
        limiter=limiter or RateLimiter(),
        outlook=outlook or Outlook(store.engine),
        hash_key=hash_key,
        clock=clock,
    )
    api = _Api(submission, media, on_cancelled, created_s=clock() // 1_000_000_000)
    return Starlette(
        routes=[
            _route("/v1/videos", GET=api.list_videos, POST=api.create),
            _route("/v1/videos/{video_id}", GET=api.retrieve, DELETE=api.delete),
            _route("/v1/videos/{video_id}/content", GET=api.content),
            _route("/v1/videos/{video_id}/events", GET=api.events),
            _route("/v1/models", GET=api.models),
            _route("/openapi.json", GET=api.openapi),
            _route("/healthz", GET=api.healthz),
            _route("/readyz", GET=api.readyz),
            *extra_routes,
        ],
        middleware=[Middleware(LimitHeaders, submission.limiter), Middleware(Watch)],
        exception_handlers=cast("Any", {ApiError: _api_error, HTTPException: _http_error}),
    )


def _route(path: str, **handlers: Callable[[Request], Awaitable[Response]]) -> Route:
    """One route for all methods of a path, so that the 405 for any other names them all."""

    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, handle, methods=list(handlers))


@dataclass(frozen=True, slots=True)
class _Api:
    submission: Submission
    media: VideoMedia
    on_cancelled: Callable[[Job], None]
    created_s: int

    @property
    def _store(self) -> JobStore:
        return self.submission.store

    async def create(self, request: Request) -> Response:
        job, prompt, replayed = await self.submission.accept(request)
        headers = {"x-trace-id": job.trace_id, "openai-poll-after-ms": _POLL_AFTER_MS}
        if replayed:
            headers["idempotent-replayed"] = "true"
        return JSONResponse(await self._shown(job, prompt), headers=headers)

    async def retrieve(self, request: Request) -> Response:
        job = await self._owned(request)
        return JSONResponse(
            await self._shown(job, await run_in_threadpool(self._prompt, job)),
            headers={"openai-poll-after-ms": _POLL_AFTER_MS},
        )

    async def list_videos(self, request: Request) -> Response:
        key = await authenticate(request, self.submission.keys)
        query = request.query_params
        order, limit, after = query.get("order", "desc"), query.get("limit", str(_PAGE)), query.get("after")
        if order not in {"asc", "desc"}:
            raise bad_value("order", f"order must be asc or desc, got {shown(order)}")
        if re.fullmatch(r"[0-9]{1,3}", limit) is None or not 1 <= int(limit) <= _LARGEST_PAGE:
            raise bad_value("limit", f"limit must be 1 to {_LARGEST_PAGE}, got {shown(limit)}")
        try:
            page = await run_in_threadpool(
                self._store.page,
                key.id,
                after=after,
                limit=int(limit),
                order=cast("Literal['asc', 'desc']", order),
            )
        except LookupError:
            raise bad_value("after", f"after names no video of this key: {shown(after)}") from None
        videos = [await self._shown(job) for job in page.jobs]
        return JSONResponse(
            {
                "object": "list",
                "data": videos,
                "first_id": videos[0]["id"] if videos else None,
                "last_id": videos[-1]["id"] if videos else None,
                "has_more": page.has_more,
            }
        )

    async def content(self, request: Request) -> Response:
        return await content_response(request, await self._owned(request), self.media)

    async def events(self, request: Request) -> Response:
        job = await self._owned(request)
        seen = request.headers.get("last-event-id")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if job.terminal and seen == event_id(job):
            return Response(status_code=204)  # tells a browser's EventSource to come no more
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=headers)
        events = progress_events(self._store, job, seen=seen)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def delete(self, request: Request) -> Response:
        job = await self._owned(request)
        deleted = await run_in_threadpool(self._delete, job)
        return JSONResponse(
            {
                "id": job.id,
                "object": "video.deleted",
                "deleted": deleted,
                **({} if deleted else {"status": "cancelled"}),
            }
        )

    async def models(self, request: Request) -> Response:
        await authenticate(request, self.submission.keys)
        data = [
            {
                "id": card.name,
                "object": "model",
                "created": self.created_s,
                "owned_by": "rushes",
                "fps": card.fps,
                "prompt_limit": card.prompt_limit,
                "default_seconds": card.default_seconds,
                "default_size": f"{card.default_width}x{card.default_height}",
                "default_steps": card.default_steps,
                "takes_input_reference": card.takes_picture,
                "credits_per_second": self.submission.prices[name],
            }
            for name, card in sorted(self.submission.cards.items())
        ]
        return JSONResponse({"object": "list", "data": data})

    async def openapi(self, request: Request) -> Response:  # noqa: ARG002 - a handler's signature
        return JSONResponse(document(self.submission.cards))

    async def healthz(self, request: Request) -> Response:  # noqa: ARG002 - a handler's signature
        return JSONResponse({"status": "ok"})

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002 - a handler's signature
        try:
            waiting = await run_in_threadpool(self._store.waiting)
        except Exception:  # noqa: BLE001 - whatever it is, the gateway can't take jobs
            return JSONResponse({"status": "the job database can't be reached"}, status_code=503)
        return JSONResponse({"status": "ok", "waiting": waiting})

    async def _owned(self, request: Request) -> Job:
        key = await authenticate(request, self.submission.keys)
        video_id = request.path_params["video_id"]
        if JOB_ID.fullmatch(video_id) is None:
            raise no_such_video(video_id)
        job = await run_in_threadpool(self._store.get, video_id, key_id=key.id)
        if job is None:
            raise no_such_video(video_id)
        return job

    async def _shown(self, job: Job, prompt: str | None = None) -> dict[str, Any]:
        place = await run_in_threadpool(self.submission.outlook.place, job)
        return video_object(job, prompt=prompt, place=place)

    def _prompt(self, job: Job) -> str | None:
        try:
            return self._store.prompt(job.id).text
        except (LookupError, PromptUnreadableError):
            return None

    def _delete(self, job: Job) -> bool:
        """Cancels what is unfinished (False), deletes what is finished (True)."""
        if cancelled := self._store.cancel(job.id):
            self.on_cancelled(cancelled)
            return False
        deletion = self._store.delete(job.id)
        if deletion is not None and deletion.media is not None:
            try:
                remove_unused(self._store.engine, deletion.media, self.media.delete)
            except StorageError as error:  # it is noted, and tried again
                _LOG.error("log.message", error=f"a deleted video's object is still in the store: {error}")
        return True


async def _api_error(_request: Request, error: ApiError) -> Response:
    return error.response()


async def _http_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:  # noqa: PLR2004 - HTTP's own number
        message = f"no such path {shown(request.url.path)}"
    elif error.status_code == 405:  # noqa: PLR2004
        message = f"method {shown(request.method)} is not allowed here"
    else:
        message = error.detail
    code = _CODES.get(error.status_code, "invalid_request")
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    return error_response(error.status_code, message, code=code, headers=headers)
