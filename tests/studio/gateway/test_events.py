"""Server-sent events: where a stream begins again, when it ends, and that nobody listens for a caller who left."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from rushes.studio.gateway.events import progress_events
from studio.gateway.parts import Gateway


def _submit(gateway: Gateway) -> str:
    response = gateway.client().post("/v1/videos", json={"prompt": "a ball", "model": "LTX2", "steps": 4})
    return str(response.json()["id"])


def _ids(text: str) -> list[str]:
    return [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")]


def test_a_stream_ends_with_the_video_and_is_not_begun_again(gateway: Gateway) -> None:
    client, video_id = gateway.client(), _submit(gateway)
    path = f"/v1/videos/{video_id}/events"
    gateway.start(video_id)
    gateway.store.set_progress(gateway.job(video_id), 4)
    gateway.finish(video_id, b"video")
    first = client.get(path)
    assert _ids(first.text) == ["completed-4"]
    assert first.headers["cache-control"] == "no-store"
    assert _ids(client.get(path, headers={"last-event-id": "generating-2"}).text) == ["completed-4"]
    again = client.get(path, headers={"last-event-id": "completed-4"})
    assert (again.status_code, again.content) == (204, b"")


def test_what_was_seen_is_not_sent_again(gateway: Gateway) -> None:
    video_id = _submit(gateway)
    gateway.start(video_id)

    async def follow() -> list[str]:
        events = progress_events(gateway.store, gateway.job(video_id), seen="generating-0")
        asyncio.get_running_loop().call_later(0.2, gateway.store.cancel, video_id)
        return [event async for event in events]

    (event,) = asyncio.run(follow())
    assert _ids(event) == ["cancelled-0"]


def test_silence_is_broken_by_a_comment(gateway: Gateway) -> None:
    job = gateway.job(_submit(gateway))

    async def first_two() -> tuple[str, str]:
        events = progress_events(gateway.store, job, keep_alive_s=0)
        return await anext(events), await anext(events)

    event, comment = asyncio.run(first_two())
    assert _ids(event) == ["queued-0"]
    assert comment.startswith(":")
    assert comment.endswith("\n\n")


def test_head_does_not_wait_for_the_video(gateway: Gateway) -> None:
    response = gateway.client().head(f"/v1/videos/{_submit(gateway)}/events")
    assert response.headers["content-type"].startswith("text/event-stream")


def test_a_caller_who_leaves_ends_the_stream(gateway: Gateway) -> None:
    video_id = _submit(gateway)
    sent: list[MutableMapping[str, Any]] = []

    async def call() -> None:
        begun = asyncio.Event()
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> MutableMapping[str, Any]:
            for message in messages:
                return message
            await begun.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)
            if message.get("body"):
                begun.set()

        headers = [(b"authorization", f"Bearer {gateway.secret}".encode())]
        path = f"/v1/videos/{video_id}/events"
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        # The video never moves: a stream that goes on never ends.
        await asyncio.wait_for(gateway.app(scope, receive, send), 30)

    asyncio.run(call())
    assert _ids(b"".join(message.get("body", b"") for message in sent).decode()) == ["queued-0"]


def test_a_405_names_all_methods_of_the_path(gateway: Gateway) -> None:
    client = gateway.client()
    for path, allowed in (
        ("/v1/videos", "GET, HEAD, POST"),
        (f"/v1/videos/video_{'0' * 32}", "DELETE, GET, HEAD"),
        (f"/v1/videos/video_{'0' * 32}/events", "GET, HEAD"),
        ("/v1/models", "GET, HEAD"),
    ):
        refused = client.put(path)
        assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
        assert refused.json()["error"]["code"] == "method_not_allowed"
