"""Reading, fetching, listing, cancelling and deleting: each key its own videos, and nothing else's."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from recording import Recorded
from rushes.studio.jobs import JobState, sweep_unused
from rushes.studio.storage import NoSuchObject, StorageError
from studio.gateway.parts import Gateway

GOOD = {"prompt": "a red ball", "model": "MOCHI1"}
CONTENT = bytes(range(256)) * 4000


def _submit(gateway: Gateway, **fields: Any) -> str:
    response = gateway.client().post("/v1/videos", json=GOOD | fields)
    assert response.status_code == 200
    return str(response.json()["id"])


@pytest.fixture
def client(gateway: Gateway) -> TestClient:
    return gateway.client()


@pytest.fixture
def finished(gateway: Gateway) -> str:
    video_id = _submit(gateway)
    gateway.start(video_id)
    gateway.finish(video_id, CONTENT)
    return video_id


def test_a_key_sees_its_own_videos_only(gateway: Gateway, finished: str) -> None:
    _, other = gateway.keys.create("other", credits=100)
    stranger = gateway.client(other)
    paths = [("GET", ""), ("GET", "/content"), ("GET", "/events"), ("DELETE", "")]
    for method, suffix in paths:
        response = stranger.request(method, f"/v1/videos/{finished}{suffix}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "video_not_found")
    assert stranger.get("/v1/videos").json()["data"] == []
    assert stranger.get("/v1/videos", params={"after": finished}).status_code == 400
    assert gateway.job(finished).state is JobState.COMPLETED


@pytest.mark.parametrize(
    "video_id", ["video_1", "..", "video_" + "g" * 32, "%00", "video_" + "0" * 32, "x" * 3000]
)
def test_an_id_that_is_none_is_not_found(client: TestClient, video_id: str) -> None:
    response = client.get(f"/v1/videos/{video_id}")
    assert response.status_code in {404, 405}
    assert len(response.text) < 300


def test_states_show_as_openais(client: TestClient, gateway: Gateway) -> None:
    video_id = _submit(gateway, steps=4)

    def shown() -> tuple[str, int, str]:
        response = client.get(f"/v1/videos/{video_id}")
        assert response.headers["openai-poll-after-ms"] == "250"
        video = response.json()
        return video["status"], video["progress"], video["state"]

    assert shown() == ("queued", 0, "queued")
    gateway.start(video_id)
    assert shown() == ("in_progress", 0, "generating")
    gateway.store.set_progress(gateway.job(video_id), 3)
    assert shown() == ("in_progress", 75, "generating")
    gateway.store.set_progress(gateway.job(video_id), 4)
    assert shown() == ("in_progress", 99, "generating")
    gateway.finish(video_id, CONTENT)
    assert shown() == ("completed", 100, "completed")


def test_content_comes_when_it_is_there(client: TestClient, gateway: Gateway) -> None:
    video_id = _submit(gateway)
    early = client.get(f"/v1/videos/{video_id}/content")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "video_not_ready")
    assert early.headers["x-should-retry"] == "false"
    gateway.start(video_id)
    gateway.finish(video_id, CONTENT)
    response = client.get(f"/v1/videos/{video_id}/content", params={"variant": "video"})
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["content-length"] == str(len(CONTENT))
    assert client.get(f"/v1/videos/{video_id}/content?variant=thumbnail").status_code == 400


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, None),
        ("bytes=-7", -7, None),
        ("bytes=5-99999999999", 5, None),
    ],
)
def test_a_range_is_sent_alone(
    client: TestClient, finished: str, asked: str, start: int, end: int | None
) -> None:
    response = client.get(f"/v1/videos/{finished}/content", headers={"range": asked})
    wanted = CONTENT[start:end]
    first = start if start >= 0 else len(CONTENT) + start
    assert (response.status_code, response.content) == (206, wanted)
    assert response.headers["content-range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(CONTENT)}"


def test_head_tells_the_size_and_reads_nothing(
    client: TestClient, gateway: Gateway, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the file was read")

    monkeypatch.setattr(gateway.media, "open", read)
    response = client.head(f"/v1/videos/{finished}/content")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len(CONTENT))
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=0-1,5-6", "lines=1-2", "bytes=-", "junk"])
def test_what_is_no_single_range_gets_the_whole(client: TestClient, finished: str, asked: str) -> None:
    response = client.get(f"/v1/videos/{finished}/content", headers={"range": asked})
    assert (response.status_code, len(response.content)) == (200, len(CONTENT))


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(client: TestClient, finished: str, asked: str) -> None:
    response = client.get(f"/v1/videos/{finished}/content", headers={"range": asked})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"


def test_a_changed_file_is_not_resumed(client: TestClient, finished: str) -> None:
    path = f"/v1/videos/{finished}/content"
    etag = client.get(path).headers["etag"]
    same = client.get(path, headers={"range": "bytes=0-9", "if-range": etag})
    other = client.get(path, headers={"range": "bytes=0-9", "if-range": '"other"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_a_video_whose_file_is_gone_is_not_found(client: TestClient, gateway: Gateway, finished: str) -> None:
    media = gateway.job(finished).media
    assert media is not None
    gateway.media.delete(media)
    assert client.get(f"/v1/videos/{finished}/content").status_code == 404


def test_deleting_an_unfinished_video_cancels_it(client: TestClient, gateway: Gateway) -> None:
    queued, running = _submit(gateway), _submit(gateway)
    gateway.start(running)
    for video_id in (queued, running):
        response = client.delete(f"/v1/videos/{video_id}").json()
        assert (response["deleted"], response["status"]) == (False, "cancelled")
        video = client.get(f"/v1/videos/{video_id}").json()
        assert (video["status"], video["error"]["code"]) == ("failed", "cancelled")
    assert [job.id for job in gateway.cancelled] == [queued, running]
    assert {job.state for job in gateway.cancelled} == {JobState.CANCELLED}
    assert not gateway.store.set_progress(gateway.job(running), 2)
    assert gateway.balance() == 1000
    assert client.delete(f"/v1/videos/{queued}").json()["deleted"] is True
    assert client.get(f"/v1/videos/{queued}").status_code == 404
    assert len(gateway.cancelled) == 2


def test_equal_videos_share_a_file_until_the_last_is_deleted(client: TestClient, gateway: Gateway) -> None:
    one, other = _submit(gateway), _submit(gateway)
    for video_id in (one, other):
        gateway.start(video_id)
        gateway.finish(video_id, CONTENT)
    assert client.delete(f"/v1/videos/{one}").json()["deleted"] is True
    assert client.get(f"/v1/videos/{other}/content").content == CONTENT
    client.delete(f"/v1/videos/{other}")
    assert not any(path.is_file() for path in gateway.folder.parent.joinpath("videos").rglob("*"))


def test_a_file_that_another_job_is_about_to_store_stays(client: TestClient, gateway: Gateway) -> None:
    one, other = _submit(gateway), _submit(gateway)
    for video_id in (one, other):
        gateway.start(video_id)
    gateway.finish(one, CONTENT)
    media = gateway.job(one).media
    assert media is not None
    assert gateway.store.reserve_media(gateway.job(other), media)
    assert client.delete(f"/v1/videos/{one}").json()["deleted"] is True
    assert gateway.media.head(media).size_bytes == len(CONTENT)
    assert client.get(f"/v1/videos/{other}/content").status_code == 409
    assert gateway.store.complete(gateway.job(other), media=media, size_bytes=len(CONTENT))
    assert client.get(f"/v1/videos/{other}/content").content == CONTENT


def test_what_a_cancelled_job_stored_goes_with_it(client: TestClient, gateway: Gateway) -> None:
    video_id = _submit(gateway)
    gateway.start(video_id)
    file = gateway.folder / "video.mp4"
    file.write_bytes(CONTENT)
    stored = gateway.media.put(file)
    assert gateway.store.reserve_media(gateway.job(video_id), stored.name)
    assert client.delete(f"/v1/videos/{video_id}").json()["deleted"] is False
    assert [job.media for job in gateway.cancelled] == [stored.name]
    assert client.get(f"/v1/videos/{video_id}/content").status_code == 409
    assert client.delete(f"/v1/videos/{video_id}").json()["deleted"] is True
    assert not any(path.is_file() for path in gateway.folder.parent.joinpath("videos").rglob("*"))


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=-1", "order=up", "after=video_1"]
)
def test_a_wrong_page_is_refused(client: TestClient, query: str) -> None:
    response = client.get(f"/v1/videos?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, query.split("=", maxsplit=1)[0])


def test_requests_are_counted_by_the_routes_template(
    client: TestClient, recorded: Recorded, finished: str
) -> None:
    def count(route: str, method: str, status: int) -> float:
        series = f'api_requests_total{{method="{method}",route="{route}",status="{status}"}}'
        return recorded.metrics("api_requests_total").get(series, 0)

    expected = [
        ("/v1/videos/{video_id}", "GET", 200),
        ("/v1/videos/{video_id}/content", "GET", 200),
        ("unmatched", "GET", 404),
        ("/v1/videos", "PUT", 405),
        ("/healthz", "GET", 200),
        ("/readyz", "GET", 200),
    ]
    before = [count(*call) for call in expected]
    client.get(f"/v1/videos/{finished}")
    client.get(f"/v1/videos/{finished}/content")
    assert client.get("/wp-login.php").json()["error"]["code"] == "not_found"
    assert client.put("/v1/videos").json()["error"]["code"] == "method_not_allowed"
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "waiting": 0}
    assert [count(*call) for call in expected] == [value + 1 for value in before]


def test_a_video_is_deleted_although_the_storage_can_not_be_reached(
    client: TestClient, gateway: Gateway, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_name: str) -> None:
        raise StorageError("could not delete from the store")

    name = gateway.job(finished).media
    assert name is not None
    with monkeypatch.context() as patched:
        patched.setattr(gateway.media, "delete", unreachable)
        assert client.delete(f"/v1/videos/{finished}").json()["deleted"] is True
    assert client.get(f"/v1/videos/{finished}").status_code == 404
    assert gateway.media.head(name).size_bytes == len(CONTENT)
    sweep_unused(gateway.store.engine, gateway.media.delete)
    with pytest.raises(NoSuchObject):
        gateway.media.head(name)
