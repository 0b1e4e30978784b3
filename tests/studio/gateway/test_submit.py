"""What is accepted, what is refused, how each is told, and what of it reaches telemetry."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from recording import Recorded
from rushes.studio.gateway import create_app
from studio.gateway.parts import CARDS, PRICES, Gateway

PART = b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n'
MODEL = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nLTX2\r\n--x--\r\n'
GOOD: dict[str, Any] = {"prompt": "a red ball", "model": "MOCHI1"}


def _error(response: Any) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = body["error"]
    return error


@pytest.fixture
def client(gateway: Gateway) -> TestClient:
    return gateway.client()


def test_json_and_forms_mean_the_same(client: TestClient, gateway: Gateway) -> None:
    fields = {**GOOD, "seconds": "2", "size": "64x64", "seed": "7", "steps": "3", "guidance_scale": "2.5"}
    as_json = client.post("/v1/videos", json={**fields, "seed": 7, "steps": 3.0, "seconds": 2})
    as_form = client.post("/v1/videos", data=fields)
    as_parts = client.post("/v1/videos", files={name: (None, value) for name, value in fields.items()})
    jobs = [gateway.job(r.json()["id"]) for r in (as_json, as_form, as_parts)]
    for job in jobs:
        assert (job.seconds, job.width, job.height, job.seed, job.steps, job.guidance_scale) == (
            2, 64, 64, 7, 3, 2.5
        )  # fmt: skip
        assert job.tier == "premium"


def test_what_is_left_out_takes_the_models_defaults(client: TestClient, gateway: Gateway) -> None:
    jobs = [gateway.job(client.post("/v1/videos", json=GOOD).json()["id"]) for _ in range(2)]
    assert (jobs[0].seconds, jobs[0].resolution, jobs[0].steps, jobs[0].num_frames) == (1, "64x48", 8, 25)
    assert jobs[0].seed != jobs[1].seed
    assert gateway.balance() == 1000 - 2 * 2


@pytest.mark.parametrize(
    ("change", "param", "code", "told"),
    [
        ({"prompt": None}, "prompt", "missing_prompt", "is required"),
        ({"prompt": "  \n"}, "prompt", "missing_prompt", "is empty"),
        ({"prompt": 5}, "prompt", "invalid_type", "must be a text"),
        ({"prompt": "\ud800"}, "prompt", "invalid_value", "surrogate"),
        (
            {"prompt": "p" * 201},
            "prompt",
            "string_above_max_length",
            "has 201 characters; this model takes 200",
        ),
        ({"negative_prompt": "n" * 300}, "negative_prompt", "string_above_max_length", "300"),
        ({"model": None}, "model", "model_not_found", "models are LTX2, MOCHI1"),
        ({"model": "VEO9"}, "model", "model_not_found", "'VEO9' does not exist"),
        ({"model": ["MOCHI1"]}, "model", "invalid_type", "must be a text"),
        ({"size": "64"}, "size", "invalid_value", "WIDTHxHEIGHT"),
        ({"size": "65x64"}, "size", "invalid_value", "multiples of 16"),
        ({"size": 64}, "size", "invalid_type", "must be a text"),
        ({"seconds": 11}, "seconds", "invalid_value", "1 to 10 s, not 11 s"),
        ({"seconds": "soon"}, "seconds", "invalid_value", "'soon'"),
        ({"seconds": True}, "seconds", "invalid_type", "number"),
        ({"seconds": "nan"}, "seconds", "invalid_value", "must be a number, got 'nan'"),
        ({"seconds": "1_0"}, "seconds", "invalid_value", "must be a number, got '1_0'"),
        ({"seconds": " 1"}, "seconds", "invalid_value", "must be a number"),
        ({"seconds": "\u0661"}, "seconds", "invalid_value", "must be a number"),
        ({"seconds": "1e999"}, "seconds", "invalid_value", "finite"),
        ({"seconds": 10**400}, "seconds", "invalid_value", "finite"),
        ({"steps": 51}, "steps", "invalid_value", "1 to 50 steps, not 51"),
        ({"steps": 1.5}, "steps", "invalid_value", "whole number"),
        ({"seed": -1}, "seed", "invalid_value", "between 0 and"),
        ({"seed": 2**63}, "seed", "invalid_value", "between 0 and"),
        ({"guidance_scale": 0}, "guidance_scale", "invalid_value", "between 1 and 30"),
        ({"tier": "gold"}, "tier", "invalid_value", "realtime, premium, standard, free"),
        ({"step": 5}, "step", "unknown_parameter", "parameters are prompt, model"),
        ({"input_reference": "x"}, "input_reference", "unsupported_parameter", "models that can: LTX2"),
    ],
)
def test_a_wrong_parameter_is_named(
    gateway: Gateway, change: dict[str, Any], param: str, code: str, told: str
) -> None:
    response = gateway.client().post("/v1/videos", content=json.dumps(GOOD | change))
    error = _error(response)
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
    assert told in error["message"]
    assert gateway.store.waiting() == 0
    assert gateway.balance() == 1000


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b'{"prompt": NaN}', "application/json", 400, "invalid_json"),
        (b"\xff\xfe", "application/json", 400, "invalid_json"),
        (b"[1]", "application/json", 400, "invalid_json"),
        (b"[" * 100_000, "application/json", 400, "invalid_json"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", 400, "invalid_json"),
        (b"", "application/json", 400, "invalid_json"),
        (b"no form", "multipart/form-data", 400, "invalid_form"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=y", 400, "invalid_form"),
        (PART + b"caf\xe9\r\n--x--\r\n", "multipart/form-data; boundary=x", 400, "invalid_form"),
        (b"prompt=caf\xe9&model=LTX2", "application/x-www-form-urlencoded", 400, "invalid_form"),
        (b"prompt=caf%E9&model=LTX2", "application/x-www-form-urlencoded", 400, "invalid_form"),
        (
            b"&".join(b"a%d=1" % n for n in range(65)),
            "application/x-www-form-urlencoded",
            400,
            "invalid_form",
        ),
        ('{"prompt": "a", "model": "LTX2"}'.encode("utf-16"), "application/json", 400, "invalid_json"),
        (b"prompt=a&prompt=b", "application/x-www-form-urlencoded", 400, "invalid_value"),
        (b"<a/>", "text/xml", 415, "unsupported_media_type"),
        (b'{"prompt": "' + b"p" * (1 << 20) + b'"}', "application/json", 413, "body_too_large"),
        (b"p" * (2 << 20), "application/x-www-form-urlencoded", 413, "body_too_large"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_broken_body_is_refused(
    client: TestClient, body: bytes, content_type: str, status: int, code: str
) -> None:
    response = client.post("/v1/videos", content=body, headers={"content-type": content_type})
    assert (response.status_code, _error(response)["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (PART + "café\r\n".encode() + MODEL, "multipart/form-data; boundary=x"),
        (PART + "café\r\n".encode() + MODEL, "multipart/form-data; charset=latin-1; boundary=x"),
        ("prompt=café&model=LTX2".encode(), "application/x-www-form-urlencoded"),
        (b"prompt=caf%C3%A9&model=LTX2", "application/x-www-form-urlencoded"),
    ],
)
def test_forms_are_utf_8(client: TestClient, body: bytes, content_type: str) -> None:
    response = client.post("/v1/videos", content=body, headers={"content-type": content_type})
    assert response.json()["prompt"] == "café"


def test_a_file_where_a_text_belongs_is_refused(client: TestClient) -> None:
    response = client.post("/v1/videos", data={"model": "LTX2"}, files={"prompt": ("p.txt", b"a ball")})
    assert (response.status_code, _error(response)["param"]) == (400, "prompt")


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic abc", "Bearer rk_" + "x" * 32, "Bearer " + "y" * 500]
)
def test_without_a_key_nothing_is_told(gateway: Gateway, authorization: str) -> None:
    client = gateway.client()
    client.headers["authorization"] = authorization
    for method, path in (
        ("POST", "/v1/videos"),
        ("GET", "/v1/videos"),
        ("GET", f"/v1/videos/video_{'0' * 32}"),
        ("GET", f"/v1/videos/video_{'0' * 32}/content"),
        ("GET", f"/v1/videos/video_{'0' * 32}/events"),
        ("DELETE", f"/v1/videos/video_{'0' * 32}"),
        ("GET", "/v1/models"),
    ):
        response = client.request(method, path)
        assert (response.status_code, _error(response)["code"]) == (401, "invalid_api_key")
        assert "xxxxx" not in response.text


def test_a_key_may_not_go_above_its_tier(client: TestClient) -> None:
    response = client.post("/v1/videos", json=GOOD | {"tier": "realtime"})
    assert (response.status_code, _error(response)["code"]) == (403, "tier_not_allowed")
    assert client.post("/v1/videos", json=GOOD | {"tier": "free"}).json()["tier"] == "free"


def test_the_rate_limit_says_when_to_come_back(gateway: Gateway) -> None:
    _, secret = gateway.keys.create("slow", rate_limit_per_minute=2, credits=100)
    client = gateway.client(secret)
    statuses = [client.post("/v1/videos", json=GOOD).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = client.post("/v1/videos", json=GOOD)
    assert (_error(refused)["code"], refused.headers["retry-after"]) == ("rate_limit_exceeded", "30")
    assert _error(refused)["message"] == "rate limit of 2 submissions a minute reached; try again in 30 s"
    gateway.limiter_clock.now += 30
    assert client.post("/v1/videos", json=GOOD).status_code == 200


def test_what_is_refused_for_another_reason_counts_towards_the_rate_limit(gateway: Gateway) -> None:
    _, secret = gateway.keys.create("slow", rate_limit_per_minute=1, credits=100)
    client = gateway.client(secret)
    assert client.post("/v1/videos", json=GOOD | {"seed": -1}).status_code == 400
    assert client.post("/v1/videos", json=GOOD).status_code == 429


def test_credits_and_quota_run_out(gateway: Gateway) -> None:
    _, poor = gateway.keys.create("poor", credits=3)
    client = gateway.client(poor)
    assert client.post("/v1/videos", json=GOOD).status_code == 200
    broke = client.post("/v1/videos", json=GOOD)
    assert (broke.status_code, _error(broke)["code"]) == (402, "insufficient_quota")
    assert "costs 2 credits and the key has 1" in _error(broke)["message"]
    _, limited = gateway.keys.create("limited", credits=100, quota_per_day=1)
    client = gateway.client(limited)
    assert client.post("/v1/videos", json=GOOD).status_code == 200
    over = client.post("/v1/videos", json=GOOD)
    assert (over.status_code, _error(over)["code"]) == (429, "insufficient_quota")
    assert 0 < int(over.headers["retry-after"]) <= 86_400


def test_a_full_queue_says_when_to_come_back(gateway: Gateway, client: TestClient) -> None:
    for _ in range(40):
        last = client.post("/v1/videos", json=GOOD)
        assert last.status_code == 200
    refused = client.post("/v1/videos", json=GOOD)
    assert (refused.status_code, _error(refused)["code"]) == (429, "queue_full")
    assert refused.headers["retry-after"] == "5"
    assert gateway.balance() == 1000 - 80
    gateway.store.cancel(last.json()["id"])
    assert client.post("/v1/videos", json=GOOD).status_code == 200


def test_a_crowd_does_not_get_past_a_tiers_limit(gateway: Gateway) -> None:
    client, crowd = gateway.client(), threading.Barrier(8)

    def ask(_: int) -> int:
        crowd.wait()
        return client.post("/v1/videos", json=GOOD | {"tier": "free"}).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(ask, range(8)))
    assert answers == [200] * 3 + [429] * 5
    assert gateway.balance() == 1000 - 3 * PRICES["MOCHI1"]  # nor do those who were refused pay


def test_a_model_without_a_price_is_a_mistake_of_the_settings(gateway: Gateway) -> None:
    with pytest.raises(ValueError, match="no price is set for LTX2"):
        create_app(
            store=gateway.store,
            keys=gateway.keys,
            cards=CARDS,
            media=gateway.media,
            prices={"MOCHI1": 1},
            on_cancelled=gateway.cancelled.append,
            hash_key=b"k" * 32,
        )


def test_an_accepted_video_is_traced_counted_and_logged(
    gateway: Gateway, client: TestClient, recorded: Recorded
) -> None:
    series = 'video_generation_request_total{model="MOCHI1",tier="standard"}'
    calls = 'api_requests_total{method="POST",route="/v1/videos",status="200"}'
    client.get("/healthz")  # so that something has been counted
    before = recorded.metrics("video_generation_request_total") | recorded.metrics("api_requests_total")
    video = client.post("/v1/videos", json=GOOD | {"tier": "standard", "prompt": "zebracanary runs"}).json()
    after = recorded.metrics("video_generation_request_total") | recorded.metrics("api_requests_total")
    assert after[series] == before.get(series, 0) + 1
    assert after[calls] == before.get(calls, 0) + 1
    job = gateway.job(video["id"])
    spans = {span.name: span for span in recorded.spans.get_finished_spans()}
    assert set(spans) == {"gateway", "auth.validate", "rate_limit.check", "quota.verify"}
    root = spans["gateway"]
    assert root.context is not None
    assert root.parent is not None
    assert f"{root.context.trace_id:032x}" == job.trace_id == video["trace_id"]
    assert f"{root.parent.span_id:016x}" == job.root_span_id
    assert dict(root.attributes or {}) == {
        "user_id": gateway.key.id,
        "tier": "standard",
        "ip": "203.0.113.0/24",
    }
    for name in ("auth.validate", "rate_limit.check", "quota.verify"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == root.context.span_id
    (stage,) = job.stages
    assert (stage.name, stage.start_ns) == ("gateway", job.accepted_ns)
    (line,) = (r.log_record for r in recorded.logs.get_finished_logs())
    attributes = dict(line.attributes or {})
    assert attributes["event"] == "generation.job.accepted"
    assert attributes["request_id"] == job.id
    assert (attributes["resolution"], attributes["total_steps"], attributes["seconds"]) == ("64x48", 8, 1.0)
    told = repr((line.body, attributes)) + "".join(span.to_json() for span in spans.values())
    assert "zebracanary" not in told
    assert gateway.secret not in told


def test_a_refusal_leaves_its_gateway_span_and_no_root(gateway: Gateway, recorded: Recorded) -> None:
    client = gateway.client("rk_" + "x" * 32)
    assert client.post("/v1/videos", json=GOOD).status_code == 401
    names = [span.name for span in recorded.spans.get_finished_spans()]
    assert names == ["auth.validate", "gateway"]
    (line,) = (r.log_record for r in recorded.logs.get_finished_logs())
    attributes = dict(line.attributes or {})
    assert (attributes["event"], attributes["code"], attributes["status"]) == (
        "gateway.request.refused",
        "invalid_api_key",
        401,
    )
    assert "xxxxx" not in repr((line.body, attributes))


def test_an_inner_error_tells_nothing_of_the_inside(
    gateway: Gateway, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("zebracanary in /var/lib/studio.db")

    monkeypatch.setattr(gateway.store, "create", broken)
    response = gateway.client().post("/v1/videos", json=GOOD)
    assert (response.status_code, _error(response)["code"]) == (500, "internal_error")
    assert "studio.db" not in response.text
    (line,) = (r.log_record for r in recorded.logs.get_finished_logs())
    attributes = dict(line.attributes or {})
    assert attributes["event"] == "gateway.request.failed"
    assert str(attributes["error"]).startswith("OSError at ")
    assert "zebracanary" not in repr((line.body, attributes))
    assert gateway.store.depth() == []
