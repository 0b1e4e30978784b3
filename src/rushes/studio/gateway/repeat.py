"""A submission with an Idempotency-Key that was sent before: it answers with the video that it made then."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rushes.studio.gateway.errors import ApiError
from rushes.studio.keys import Repeatable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from rushes.studio.jobs import Job, JobStore
    from rushes.studio.keys import ApiKey

HEADER: Final = "Idempotency-Key"
_NAME: Final = re.compile(r"[\x21-\x7e]{1,255}")


def repeatable(
    request: Request, key: ApiKey, fields: Mapping[str, object], hash_key: bytes
) -> Repeatable | None:
    """The request as its idempotency key names it; None if it has none.

    Raises:
        ApiError: the header is no idempotency key; 400.
    """
    names = request.headers.getlist(HEADER)
    if not names:
        return None
    if len(names) > 1 or _NAME.fullmatch(names[0]) is None:
        message = f"{HEADER} must be one text of 1 to 255 printable ASCII characters without spaces"
        raise ApiError(400, message, code="invalid_idempotency_key", param=HEADER)
    return Repeatable.of(key.id, names[0], fields, hash_key=hash_key)


def earlier(request: Repeatable, store: JobStore, *, at_ns: int) -> Job | None:
    """The video that the request made when it was sent first, as it is now; None if this is the first time.

    Raises:
        ApiError: the idempotency key stands for another request (422) or for a video that was deleted (409).
    """
    found = request.find(store.engine, at_ns=at_ns)
    if found is None:
        return None
    if not found.same:
        message = (
            f"this {HEADER} was used with other parameters within 24 hours; use a new one for a new video"
        )
        raise ApiError(422, message, code="idempotency_key_reused", param=HEADER)
    job = store.get(found.job_id, key_id=request.key_id)
    if job is None:
        raise ApiError(
            409,
            f"the video that this {HEADER} made was deleted; use a new one for a new video",
            code="video_deleted",
            param=HEADER,
            headers={"x-should-retry": "false"},
        )
    return job
