"""How every question of the HTTP APIs is answered: in a thread, timed, given up when nobody waits for it any more."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import anyio
from starlette.requests import Request
from starlette.responses import Response

from rushes.query.promql.deadline import Deadline
from rushes.sdk import instruments

__all__ = ["MAX_CONCURRENT", "Answer", "Api", "Outcome", "Workers", "answered", "as_json"]

Api: TypeAlias = Literal[
    "query",
    "query_range",
    "query_exemplars",
    "format_query",
    "series",
    "labels",
    "label_values",
    "metadata",
    "rules",
    "alerts",
    "status",
    "traces",
    "trace",
    "logs",
    "log_tail",
    "videos",
    "jaeger",
]
"""What the telemetry calls a question."""

Outcome: TypeAlias = Literal[
    "ok", "bad_data", "execution", "timeout", "canceled", "not_found", "unavailable", "internal"
]
"""How it ended."""

MAX_CONCURRENT: Final = 20
"""Questions that are worked on at the same time; more wait. Prometheus' own default."""

_WORTH_PACKING: Final = 1024
_GZIP_LEVEL: Final = 1  # samples are packed little better by more work

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send; `outcome` is what the telemetry calls it."""

    body: bytes
    status: int = 200
    outcome: Outcome = "ok"
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(data: Any) -> bytes:
    """Data as JSON. Raises ValueError for numbers that JSON doesn't have."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


class Workers:
    """Places to work in, made in the event loop that uses them."""

    def __init__(self, places: int = MAX_CONCURRENT) -> None:
        self._places = places
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def limiter(self) -> anyio.CapacityLimiter:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._places)
        return self._limiter


async def answered(
    request: Request,
    work: Callable[[], Answer],
    *,
    api: Api,
    workers: Workers,
    deadline: Deadline | None = None,
) -> Response:
    """Does the work in a thread and makes a response of its answer.

    Args:
        request: its body has been read.
        work: raises nothing that a client could have caused.
        api: what the telemetry calls this question.
        workers: whose places are used.
        deadline: cancelled when the client goes.
    """
    started = time.perf_counter()
    packs = "gzip" in _accepted(request.headers.get("accept-encoding", ""))
    found: list[tuple[Answer, bytes | None]] = []

    def do() -> None:
        try:
            answer = work()
        except Exception:
            logger.exception("the question could not be answered")
            answer = _BROKEN
        packed = None
        if packs and len(answer.body) >= _WORTH_PACKING:
            packed = gzip.compress(answer.body, _GZIP_LEVEL, mtime=0)
        found.append((answer, packed))

    async with anyio.create_task_group() as tasks:
        if deadline is not None:
            tasks.start_soon(_cancel_when_gone, request, deadline)
        await anyio.to_thread.run_sync(do, limiter=workers.limiter)
        tasks.cancel_scope.cancel()
    answer, packed = found[0]
    took = time.perf_counter() - started
    instruments.rushes_query_duration_seconds.record(took, api=api, outcome=answer.outcome)
    headers = {"vary": "Accept-Encoding", **answer.headers}
    if packed is not None:
        headers["content-encoding"] = "gzip"
    content = answer.body if packed is None else packed
    return Response(content, answer.status, headers, answer.media_type if answer.body else None)


_BROKEN: Final = Answer(
    as_json(
        {
            "status": "error",
            "errorType": "internal",
            "error": "the control room failed to answer; its log has the cause",
        }
    ),
    500,
    "internal",
)


async def _cancel_when_gone(request: Request, deadline: Deadline) -> None:
    try:
        while (await request.receive())["type"] != "http.disconnect":
            pass
    finally:  # also when the server ends; after the work it does nothing
        deadline.cancel()


def _accepted(header: str) -> set[str]:
    """The encodings that a client takes."""
    found = set()
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        if weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            found.add(name.strip())
    return found
