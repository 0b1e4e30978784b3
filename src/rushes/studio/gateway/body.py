"""Reading a request's body, within a limit, into named fields: OpenAI's client sends forms, people send JSON."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from rushes.studio.gateway.errors import ApiError, bad_value, shown
from rushes.studio.gateway.picture import FILE_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

BODY_LIMIT: Final = 1 << 20
# A client that is cut off while it still sends may not see the reply; up to here it may finish first.
_DISCARD_LIMIT: Final = 16 << 20
_MAX_FIELDS: Final = 64
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{1,70}")
# It warns of every broken form, which is the sender's affair and answered as such.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


async def read_fields(request: Request) -> Mapping[str, object]:
    """The fields of a JSON object or a form; in a form all values are texts, but for `input_reference`: its bytes.

    Raises:
        ApiError: the body is too large, broken, of another type, or a field is given twice or is a file.
    """
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    body = await _read(request, BODY_LIMIT + (FILE_LIMIT if content_type == "multipart/form-data" else 0))
    if content_type == "application/json":
        return _json(body)
    if content_type == "multipart/form-data":
        return await _multipart(request, body)
    if content_type == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    message = (
        f"content type {shown(content_type)} is not supported; send application/json or multipart/form-data"
    )
    raise ApiError(415, message, code="unsupported_media_type")


async def _read(request: Request, limit: int) -> bytes:
    body = bytearray()
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received <= limit:
                body += chunk
            elif received > _DISCARD_LIMIT:
                break
    except ClientDisconnect:
        raise ApiError(400, "the request ended before its body was complete", code="invalid_body") from None
    if received > limit:
        raise ApiError(413, f"the body is larger than {limit} bytes", code="body_too_large")
    return bytes(body)


def _json(body: bytes) -> Mapping[str, object]:
    try:
        fields = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ApiError(400, f"the body is not valid JSON in UTF-8{where}", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _urlencoded(body: bytes) -> Mapping[str, object]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise _no_form() from None
    return _once(pairs)


async def _multipart(request: Request, body: bytes) -> Mapping[str, object]:
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise _no_form()
    # Starlette takes what is no UTF-8 for latin-1; all of it read as latin-1 are the bytes themselves.
    kind = f'multipart/form-data; boundary="{boundary.decode()}"; charset=latin-1'
    parser = MultiPartParser(
        Headers({"content-type": kind}),
        _stream(body),
        max_files=1,
        max_fields=_MAX_FIELDS,
        max_part_size=BODY_LIMIT,
    )
    parser.spool_max_size = len(body)  # a picture is written nowhere in clear, not even to a temporary file
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError):
        raise _no_form() from None
    try:
        pairs: list[tuple[str, object]] = []
        for raw, value in form.multi_items():
            name = _text(raw)
            if isinstance(value, UploadFile) and name != "input_reference":
                raise bad_value(name, f"field {shown(name)} must be text, not a file")
            pairs.append((name, await value.read() if isinstance(value, UploadFile) else _text(value)))
    finally:
        await form.close()
    return _once(pairs)


async def _stream(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
    yield b""


def _text(latin: str) -> str:
    try:
        return latin.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise _no_form() from None


def _once(pairs: Iterable[tuple[str, object]]) -> Mapping[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise bad_value(name, f"field {shown(name)} is given twice")
        fields[name] = value
    return fields


def _no_form() -> ApiError:
    return ApiError(400, "the body is not a valid form in UTF-8", code="invalid_form")
