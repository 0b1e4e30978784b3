"""The same request sent again: one video, one charge, however it comes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from recording import Recorded
from rushes.studio.jobs import JobState
from rushes.studio.keys import ApiKey, KeyStore, forget_old
from studio.gateway.parts import Gateway

GOOD: dict[str, Any] = {"prompt": "zebracanary rolls", "model": "MOCHI1"}
DAY_NS = 24 * 3600 * 10**9


def _post(client: TestClient, name: str, **fields: Any) -> Any:
    return client.post("/v1/videos", json=GOOD | fields, headers={"idempotency-key": name})


def test_a_repeat_answers_with_the_same_video_and_costs_nothing(gateway: Gateway, recorded: Recorded) -> None:
    series = 'video_generation_request_total{model="MOCHI1",tier="premium"}'
    client = gateway.client()
    first = _post(client, "order-1")
    assert "idempotent-replayed" not in first.headers
    counted = recorded.metrics("video_generation_request_total")[series]
    gateway.start(first.json()["id"])
    again = _post(client, "order-1")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert (again.json()["id"], again.json()["status"]) == (first.json()["id"], "in_progress")
    assert again.json()["prompt"] == GOOD["prompt"]
    assert again.headers["x-trace-id"] == first.headers["x-trace-id"]
    assert recorded.metrics("video_generation_request_total")[series] == counted
    assert len(gateway.store.page(gateway.key.id).jobs) == 1
    assert gateway.balance() == 998
    assert _post(client, "order-2").json()["id"] != first.json()["id"]


def test_a_repeat_is_answered_when_a_new_video_would_be_refused(gateway: Gateway) -> None:
    _, secret = gateway.keys.create("small", credits=2, quota_per_day=1)
    client = gateway.client(secret)
    first = _post(client, "a")
    assert _post(client, "b").status_code in {402, 429}
    assert _post(client, "a").json()["id"] == first.json()["id"]
    assert _post(client, "b").status_code in {402, 429}


def test_a_refused_request_does_not_use_its_key_up(gateway: Gateway) -> None:
    key, secret = gateway.keys.create("poor", credits=1)
    client = gateway.client(secret)
    assert _post(client, "a").status_code == 402
    gateway.keys.grant(key.id, 1)
    assert _post(client, "a").status_code == 200


def test_another_request_under_the_same_key_is_refused(gateway: Gateway) -> None:
    client = gateway.client()
    assert _post(client, "a").status_code == 200
    refused = _post(client, "a", seed=1)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        422,
        "idempotency_key_reused",
        "Idempotency-Key",
    )
    assert set(error) == {"message", "type", "param", "code"}
    assert gateway.balance() == 998


def test_keys_do_not_see_each_others(gateway: Gateway) -> None:
    _, other = gateway.keys.create("other", credits=10)
    assert _post(gateway.client(), "a").json()["id"] != _post(gateway.client(other), "a").json()["id"]


@pytest.mark.parametrize("name", ["", " ", "x" * 256, "a b", "caf\u00e9", "a\tb"])
def test_a_malformed_key_is_refused(gateway: Gateway, name: str) -> None:
    response = gateway.client().post(
        "/v1/videos", json=GOOD, headers=[(b"idempotency-key", name.encode("latin-1"))]
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_idempotency_key")
    assert gateway.store.waiting() == 0


def test_the_longest_key_is_taken_and_two_are_not(gateway: Gateway) -> None:
    client = gateway.client()
    assert _post(client, "x" * 255).status_code == 200
    twice = client.post("/v1/videos", json=GOOD, headers=[("idempotency-key", "a"), ("idempotency-key", "b")])
    assert twice.status_code == 400


def test_twins_at_the_same_time_make_one_video(gateway: Gateway) -> None:
    key, secret = gateway.keys.create("twins", credits=2, quota_per_day=1)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: _post(gateway.client(secret), "order"), range(8)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert sum("idempotent-replayed" not in reply.headers for reply in replies) == 1
    assert len(gateway.store.page(key.id).jobs) == 1


def test_a_twin_that_takes_the_last_of_the_quota_between_the_two_looks(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = gateway.keys.create("twins", credits=2, quota_per_day=1)
    verify = KeyStore.verify
    twins: list[Any] = []

    def late(store: KeyStore, key: ApiKey, cost: int) -> None:
        if not twins:
            monkeypatch.setattr(KeyStore, "verify", verify)
            twins.append(_post(gateway.client(secret), "order"))
        verify(store, key, cost)

    monkeypatch.setattr(KeyStore, "verify", late)
    reply = _post(gateway.client(secret), "order")
    assert (reply.status_code, reply.headers.get("idempotent-replayed")) == (200, "true")
    assert reply.json()["id"] == twins[0].json()["id"]


def test_a_deleted_video_is_not_made_again(gateway: Gateway) -> None:
    client = gateway.client()
    video_id = _post(client, "a").json()["id"]
    gateway.store.cancel(video_id)
    assert client.delete(f"/v1/videos/{video_id}").json()["deleted"]
    again = _post(client, "a")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "video_deleted")
    assert again.headers["x-should-retry"] == "false"


def test_after_a_day_the_key_is_new(gateway: Gateway) -> None:
    client = gateway.client()
    first = gateway.job(_post(client, "a").json()["id"])
    with gateway.store.engine.begin() as conn:
        conn.execute(sa.text("UPDATE idempotency_keys SET at_ns = at_ns - :day"), {"day": DAY_NS})
    second = _post(client, "a", seed=5)
    assert second.json()["id"] != first.id
    forget_old(gateway.store.engine, at_ns=first.accepted_ns)
    assert _post(client, "a", seed=5).json()["id"] == second.json()["id"]
    forget_old(gateway.store.engine, at_ns=gateway.job(second.json()["id"]).accepted_ns + DAY_NS)
    with gateway.store.engine.connect() as conn:
        assert conn.execute(sa.text("SELECT count(*) FROM idempotency_keys")).scalar() == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL's files are not the test's to read
def test_neither_the_key_nor_the_prompt_lie_in_the_database(gateway: Gateway, tmp_path: Path) -> None:
    _post(gateway.client(), "giraffecanary")
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("studio.db*"))
    assert b"idempotency_keys" in stored
    assert b"giraffecanary" not in stored
    assert b"zebracanary" not in stored


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
def test_the_official_client_repeats(gateway: Gateway, address: str) -> None:
    with openai.OpenAI(base_url=address, api_key=gateway.secret, max_retries=0) as client:
        ids = {
            client.videos.create(prompt="x", model="LTX2", extra_headers={"Idempotency-Key": "order-7"}).id
            for _ in range(3)
        }
    assert len(ids) == 1
    assert gateway.job(ids.pop()).state is JobState.QUEUED
