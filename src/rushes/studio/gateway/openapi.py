"""The API's own description, `GET /openapi.json`: what each path takes and answers, for people and for generators."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from rushes.catalog import TIERS
from rushes.studio.jobs import JOB_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rushes.studio.models.card import ModelCard

Json = dict[str, Any]

_REFUSALS: Final = {
    400: "A parameter will not do; `param` names it",
    401: "No valid API key",
    402: "The key has too few credits",
    403: "The key may not use this tier",
    404: "There is no such video of this key",
    409: "The video is not ready, or was deleted",
    413: "The body is too large",
    415: "The body is neither JSON nor a form",
    416: "The range lies outside of the video",
    422: "The Idempotency-Key was used for another request",
    429: "Rate limit, quota or queue: `Retry-After` says when to come back",
    500: "An error of the gateway",
    503: "The model or the storage can't be reached",
}

_VIDEO_ID: Final[Json] = {"type": "string", "pattern": f"^{JOB_ID.pattern}$"}

_DATA_URL: Final[Json] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image_url"],
    "properties": {"image_url": {"type": "string", "pattern": "^data:image/(png|jpeg|webp);base64,"}},
}


def document(cards: Mapping[str, ModelCard]) -> Json:
    """OpenAPI 3.1, with the models that are on offer here."""
    video_id = _parameter("video_id", "path", _VIDEO_ID)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rushes studio",
            "version": version("rushes"),
            "description": "OpenAI's Videos API, so that its official clients work unchanged, and what goes beyond it.",
        },
        "security": [{"key": []}],
        "paths": {
            "/v1/videos": {"post": _create(cards), "get": _list()},
            "/v1/videos/{video_id}": {
                "parameters": [video_id],
                "get": _operation("retrieveVideo", "A video", _json("Video"), 404),
                "delete": _operation(
                    "deleteVideo", "Cancel an unfinished video, delete a finished one", _json("Deleted"), 404
                ),
            },
            "/v1/videos/{video_id}/content": {"parameters": [video_id], "get": _content()},
            "/v1/videos/{video_id}/events": {"parameters": [video_id], "get": _events()},
            "/v1/models": {"get": _operation("listModels", "The models on offer", _json("ModelList"))},
            "/openapi.json": {"get": _open("getOpenapi", "This document", {"type": "object"})},
            "/healthz": {"get": _open("getHealth", "Whether the process answers", _ref("Health"))},
            "/readyz": {"get": _ready()},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
            "responses": {
                str(status): {"description": text, "content": _as_json("Error")}
                for status, text in _REFUSALS.items()
            },
        },
    }


def _create(cards: Mapping[str, ModelCard]) -> Json:
    ok = {
        "description": "The video was accepted, or had been by an earlier request with this Idempotency-Key",
        "headers": {
            "x-trace-id": {"schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "required": True},
            "idempotent-replayed": {"schema": {"type": "string", "enum": ["true"]}},
        },
        "content": _as_json("Video"),
    }
    operation = _operation("createVideo", "Ask for a video", ok, 400, 402, 403, 409, 413, 415, 422, 429, 503)
    name = {"type": "string", "pattern": "^[!-~]{1,255}$"}
    fields = _fields(cards)
    return operation | {
        "parameters": [_parameter("Idempotency-Key", "header", name, required=False)],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _with_reference(fields, _DATA_URL)},
                "multipart/form-data": {
                    "schema": _with_reference(fields, {"type": "string", "format": "binary"})
                },
                "application/x-www-form-urlencoded": {"schema": fields},
            },
        },
    }


def _fields(cards: Mapping[str, ModelCard]) -> Json:
    longest = max((card.prompt_limit for card in cards.values()), default=1)
    text = {"type": "string", "maxLength": longest}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["prompt", "model"],
        "properties": {
            "prompt": text | {"pattern": r"\S"},
            "model": {"type": "string", "enum": sorted(cards)},
            "seconds": _one(
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,6})?$"},
            ),
            "size": {"type": "string", "pattern": "^[0-9]{1,5}x[0-9]{1,5}$", "examples": ["64x64"]},
            "tier": {"type": "string", "enum": list(TIERS)},
            "seed": _whole(0, 2**63 - 1),
            "steps": _whole(1, 1000),
            "negative_prompt": text,
            "guidance_scale": _one(
                {"type": "number", "minimum": 1, "maximum": 30},
                {"type": "string", "pattern": r"^[0-9]{1,2}(\.[0-9]{1,6})?$"},
            ),
        },
        "description": "Each model takes sizes, lengths and steps within limits of its own: see `GET /v1/models`.",
    }


def _with_reference(fields: Json, reference: Json) -> Json:
    return fields | {"properties": fields["properties"] | {"input_reference": reference}}


def _list() -> Json:
    page = _operation("listVideos", "The key's videos, newest first", _json("VideoList"), 400)
    return page | {
        "parameters": [
            _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100}, required=False),
            _parameter("order", "query", {"type": "string", "enum": ["asc", "desc"]}, required=False),
            _parameter("after", "query", {"type": "string"}, required=False),
        ]
    }


def _content() -> Json:
    mp4 = {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}
    operation = _operation(
        "downloadVideo",
        "The video's file",
        {"description": "The whole", "content": mp4},
        400,
        404,
        409,
        416,
        503,
    )
    operation["responses"]["206"] = {"description": "The part that `Range` asked for", "content": mp4}
    kinds = {"type": "string", "enum": ["video"]}
    return operation | {"parameters": [_parameter("variant", "query", kinds, required=False)]}


def _events() -> Json:
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": _ref("Video")}
    event = _object({"id": {"type": "string"}, "event": {"const": "video"}, "data": data})
    stream = {"text/event-stream": {"schema": event}}
    told = {"description": "An event `video` for each step, until the video's end", "content": stream}
    operation = _operation("followVideo", "The video's progress as server-sent events", told, 404)
    operation["responses"]["204"] = {"description": "`Last-Event-ID` was the last event"}
    last = _parameter("Last-Event-ID", "header", {"type": "string"}, required=False)
    return operation | {"parameters": [last]}


def _ready() -> Json:
    operation = _open("getReadiness", "Whether videos can be accepted", _ref("Health"))
    operation["responses"]["503"] = {
        "description": "The database can't be reached",
        "content": _as_json("Health"),
    }
    return operation


def _operation(name: str, summary: str, ok: Json, *refusals: int) -> Json:
    responses = {str(code): {"$ref": f"#/components/responses/{code}"} for code in (401, *refusals, 500)}
    return {"operationId": name, "summary": summary, "responses": {"200": ok, **responses}}


def _open(name: str, summary: str, schema: Json) -> Json:
    """An operation that needs no key."""
    ok = {"description": summary, "content": {"application/json": {"schema": schema}}}
    return {"operationId": name, "summary": summary, "security": [], "responses": {"200": ok}}


def _parameter(name: str, where: str, schema: Json, *, required: bool = True) -> Json:
    return {"name": name, "in": where, "required": required, "schema": schema}


def _json(schema: str) -> Json:
    return {"description": schema, "content": _as_json(schema)}


def _as_json(schema: str) -> Json:
    return {"application/json": {"schema": _ref(schema)}}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _one(*schemas: Json) -> Json:
    return {"anyOf": list(schemas)}


def _whole(least: int, most: int) -> Json:
    number = {"type": "integer", "minimum": least, "maximum": most}
    return _one(number, {"type": "string", "pattern": "^[0-9]{1,19}$"})  # as a form sends it


def _or_null(kind: str) -> Json:
    return {"type": [kind, "null"]}


def _object(properties: Json, **more: Any) -> Json:
    return {"type": "object", "required": sorted(properties), "properties": properties, **more}


def _schemas() -> Json:
    text, number, yes = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
    video = _object(
        {
            "id": _VIDEO_ID,
            "object": {"const": "video"},
            "model": text,
            "status": {"enum": ["queued", "in_progress", "completed", "failed"]},
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "created_at": number,
            "completed_at": _or_null("integer"),
            "expires_at": _or_null("integer"),
            "seconds": text,
            "size": text,
            "prompt": _or_null("string"),
            "quality": _or_null("string"),
            "remixed_from_video_id": _or_null("string"),
            "error": {"type": ["object", "null"], "properties": {"code": text, "message": text}},
            "state": text,
            "tier": {"enum": list(TIERS)},
            "step": number,
            "steps": number,
            "seed": _or_null("integer"),
            "trace_id": text,
        }
    )
    model = _object(
        {
            "id": text,
            "object": {"const": "model"},
            "created": number,
            "owned_by": text,
            "fps": {"type": "number"},
            "prompt_limit": number,
            "default_seconds": {"type": "number"},
            "default_size": text,
            "default_steps": number,
            "takes_input_reference": yes,
            "credits_per_second": number,
        }
    )
    while_it_waits = {"queue_position": {"type": "integer", "minimum": 1}, "estimated_start": number}
    deleted = {"id": text, "object": {"const": "video.deleted"}, "deleted": yes}
    fault = {"message": text, "type": text, "param": _or_null("string"), "code": _or_null("string")}
    return {
        "Video": video | {"properties": video["properties"] | while_it_waits},
        "VideoList": _object(
            {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _ref("Video")},
                "first_id": _or_null("string"),
                "last_id": _or_null("string"),
                "has_more": yes,
            }
        ),
        "Deleted": _object(deleted) | {"properties": deleted | {"status": {"const": "cancelled"}}},
        "ModelList": _object({"object": {"const": "list"}, "data": {"type": "array", "items": model}}),
        "Error": _object({"error": _object(fault, additionalProperties=False)}, additionalProperties=False),
        "Health": _object({"status": text}),
    }
