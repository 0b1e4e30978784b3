"""`rushes gateway`: the studio's front door, and the process that notices dead workers."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from typing import Final

import sqlalchemy as sa
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rushes.catalog import MODELS
from rushes.launch.lifetime import end_with_parent
from rushes.launch.ports import reserve
from rushes.sdk import configure, exposition, instruments, logs, shutdown
from rushes.settings import Settings
from rushes.studio import outcome
from rushes.studio.board import Board
from rushes.studio.chores import Chores
from rushes.studio.cost import Book
from rushes.studio.gateway import create_app
from rushes.studio.jobs import (
    FileLiveness,
    JobStore,
    Outlook,
    Reaper,
    Workers,
    cut_log,
    forget_prompts,
    open_database,
    sweep_unused,
)
from rushes.studio.keys import KeyStore, forget_old
from rushes.studio.models import offered, veo3
from rushes.studio.observed import observe
from rushes.studio.policies import tier_policies
from rushes.studio.provider import offer_veo
from rushes.studio.recovery import kill_hung, tell_gone, tell_interrupted
from rushes.studio.scratch import leaving_nothing, sweep
from rushes.studio.secret_files import development_secret, hash_key, prompt_key
from rushes.studio.storage import Media
from rushes.studio.webhooks import Deliverer, Endpoints, Outbox, Sender

__all__ = ["run"]

_LOG: Final = logs.get_logger("gateway")
_DEVELOPMENT_CREDITS: Final = 1_000_000
_DEVELOPMENT_QUOTA: Final = 100_000
_DEVELOPMENT_RATE: Final = 600


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises PortTaken."""
    settings.gateway_port = reserve(settings.host, settings.gateway_port, "--gateway-port")
    end_with_parent()
    configure(instance="gateway", endpoint=settings.telemetry_endpoint, log_level=settings.log_level)
    logs.bridge_stdlib(logging.WARNING)
    engine = open_database(settings.jobs_url)
    key = prompt_key(settings)
    store = JobStore(engine, prompt_key=key)
    keys = KeyStore(engine)
    _development_key(keys, development_secret(settings))
    cards, missing = offered(settings.weights)
    for reason in missing.values():
        _LOG.error("log.message", error=reason)
    card, reason = offer_veo(settings.veo)
    if card is not None:
        cards[card.name] = card
    else:
        missing[veo3.NAME] = reason
        if settings.veo.configured:
            _LOG.error("log.message", error=f"{veo3.NAME}: {reason}")
    media = Media(settings.storage_url)
    ending = outcome.Ending(engine, credit_usd=settings.cost.credit_usd)
    ended = partial(leaving_nothing, store=store, media=media, scratch=settings.scratch_dir)
    policies = tier_policies(settings)
    workers, liveness = Workers(engine), FileLiveness(settings.workers_dir)
    observe(store, keys, Board(workers, liveness, lease_s=settings.worker_lease_s), cards)
    _zero_counters()
    reaper = Reaper(
        store,
        workers,
        liveness,
        on_lost=ended(ending.failed),
        on_recovered=tell_interrupted,
        on_gone=tell_gone,
        on_hung=kill_hung(liveness, Book(engine)),
        lease_s=settings.worker_lease_s,
        hung_after_s=settings.hung_after_s,
        policies=policies,
    )
    app = create_app(
        store=store,
        keys=keys,
        cards=cards,
        media=media,
        unavailable=missing,
        prices={name: settings.prices.get(name, settings.price) for name in cards},
        on_cancelled=ended(ending.cancelled),
        outlook=Outlook(
            engine,
            policies=policies,
            max_queued=settings.max_queue_depth,
            lease_s=settings.worker_lease_s,
        ),
        hash_key=hash_key(settings),
        extra_routes=[Route("/metrics", _metrics_endpoint(settings))],
    )
    webhooks = Deliverer(
        Outbox(engine, retry_s=settings.webhooks_retry_s, give_up_s=settings.webhooks_give_up_s),
        Endpoints(engine, prompt_key=key),
        Sender(private=settings.webhooks_private),
    )
    chores = Chores(
        lambda: forget_old(engine, at_ns=time.time_ns()),
        lambda: sweep_unused(engine, media.delete),
        lambda: sweep(settings.scratch_dir, store),
        lambda: _forget_prompts(engine, settings.keep_prompts),
        lambda: cut_log(engine),
    )
    background = (reaper, webhooks, chores)
    for each in background:
        each.start()
    _LOG.info("process.started", process="gateway", address=f"{settings.host}:{settings.gateway_port}")
    try:
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.gateway_port,
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[("server", f"rushes/{version('rushes')}")],
            timeout_graceful_shutdown=5,
        )
    finally:
        for each in background:
            each.stop()
        shutdown()


def _forget_prompts(engine: sa.Engine, keep_s: int | None) -> None:
    if keep_s is not None:
        forget_prompts(engine, ended_before_ns=time.time_ns() - keep_s * 1_000_000_000)


def _development_key(keys: KeyStore, secret: str) -> None:
    """The key of local.json: made on first use, and again for a new database; a revoked one stays revoked."""
    made = keys.ensure(
        secret,
        name="development",
        tier="premium",
        rate_limit_per_minute=_DEVELOPMENT_RATE,
        quota_per_day=_DEVELOPMENT_QUOTA,
        credits=_DEVELOPMENT_CREDITS,
    )
    if made is None:
        _LOG.warning("log.message", error="the development key of local.json was revoked and opens nothing")


def _metrics_endpoint(settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    token = settings.token.get_secret_value() if settings.token else None

    async def metrics(request: Request) -> Response:
        shown = request.headers.get("authorization", "")
        if token and not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
            return PlainTextResponse(
                "send Authorization: Bearer with the value of RUSHES_TOKEN\n", status_code=401
            )
        text, content_type = exposition(request.headers.get("accept", ""))
        return Response(text, media_type=content_type)

    return metrics


def _zero_counters() -> None:
    """Counters exist from the start, so that their first event shows in rate() and increase()."""
    instruments.video_generation_request_total.zero(model=MODELS)
    instruments.job_cancellation_total.zero(model=MODELS)
    instruments.rushes_webhook_deliveries_total.zero()
