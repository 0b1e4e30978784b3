"""Reading a request's body, within a limit, into named fields: OpenAI's client sends forms, people send JSON."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from rushes.studio.gateway.errors import ApiError, bad_value, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message

BODY_LIMIT: Final = 1 << 20
# A client that is cut off while it still sends may not see the reply; up to here it may finish first.
_DISCARD_LIMIT: Final = 16 << 20
_MAX_FIELDS: Final = 64
# It warns of every broken form, which is the sender's affair and answered as such.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
_FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")


async def read_fields(request: Request) -> Mapping[str, object]:
    """The fields of a JSON object or a form; in a form all values are texts.

    Raises:
        ApiError: the body is too large, broken, of another type, or a field is a file.
    """
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    body = await _read(request)
    if content_type == "application/json":
        return _json(body)
    if content_type in _FORMS:
        return await _form(request, body)
    message = (
        f"content type {shown(content_type)} is not supported; send application/json or multipart/form-data"
    )
    raise ApiError(415, message, code="unsupported_media_type")


async def _read(request: Request) -> bytes:
    body = bytearray()
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received <= BODY_LIMIT:
                body += chunk
            elif received > _DISCARD_LIMIT:
                break
    except ClientDisconnect:
        raise ApiError(400, "the request ended before its body was complete", code="invalid_body") from None
    if received > BODY_LIMIT:
        raise ApiError(413, f"the body is larger than {BODY_LIMIT} bytes", code="body_too_large")
    return bytes(body)


def _json(body: bytes) -> Mapping[str, object]:
    try:
        fields = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ApiError(400, f"the body is not valid JSON{where}", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are no JSON


async def _form(request: Request, body: bytes) -> Mapping[str, object]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    replayed = Request(request.scope, receive)
    fields: dict[str, object] = {}
    try:
        form = await replayed.form(max_files=1, max_fields=_MAX_FIELDS, max_part_size=BODY_LIMIT)
    except (HTTPException, ValueError, KeyError):  # an HTTPException is what a broken multipart body becomes
        raise ApiError(400, "the body is not a valid form", code="invalid_form") from None
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) and name != "input_reference":
                raise bad_value(name, f"field {shown(name)} must be text, not a file")
            if name in fields:
                raise bad_value(name, f"field {shown(name)} is given twice")
            fields[name] = await value.read() if isinstance(value, UploadFile) else value
    finally:
        await form.close()
    return fields
