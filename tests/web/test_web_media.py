"""Stored videos over HTTP: ranges for seeking, and nothing but stored videos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rushes.web.live import Live
from rushes.web.media import MediaStore
from web.conftest import make_app
from web.fakes import Room

BODY = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(BODY).hexdigest()
NAME = f"sha256/{DIGEST[:2]}/{DIGEST}.mp4"
URL = f"/media/{NAME}"
SECRET = b"what nobody may read"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "media" / NAME
    place.parent.mkdir(parents=True)
    place.write_bytes(BODY)
    (tmp_path / "secret.mp4").write_bytes(SECRET)
    (tmp_path / "media" / "index.json").write_bytes(SECRET)
    return tmp_path / "media"


@pytest.fixture(params=["path", "url"])
def client(folder: Path, room: Room, live: Live, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    location = str(folder) if request.param == "path" else folder.as_uri()
    with TestClient(make_app(room, live, MediaStore(location))) as client:
        yield client


def test_a_whole_video(client: TestClient) -> None:
    answer = client.get(URL)
    assert answer.status_code == 200
    assert answer.content == BODY
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert "immutable" in answer.headers["cache-control"]
    again = client.get(URL, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=500-", 500, len(BODY)),
        ("bytes=-300", len(BODY) - 300, len(BODY)),
        ("bytes=511900-9999999", 511_900, len(BODY)),
        (f"bytes=-{10**9}", 0, len(BODY)),
    ],
)
def test_a_range_of_it(client: TestClient, header: str, start: int, end: int) -> None:
    answer = client.get(URL, headers={"range": header})
    assert answer.status_code == 206
    assert answer.content == BODY[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BODY)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("header", ["bytes=512000-", "bytes=-0", "bytes=999999-1000000"])
def test_a_range_outside_it_is_refused(client: TestClient, header: str) -> None:
    answer = client.get(URL, headers={"range": header})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(BODY)}"


@pytest.mark.parametrize(
    "header", ["bytes=5-2", "bytes=-", "frames=1-2", "bytes=0-1,4-5", f"bytes={'9' * 400}-"]
)
def test_a_range_that_means_nothing_is_ignored(client: TestClient, header: str) -> None:
    answer = client.get(URL, headers={"range": header})
    assert (answer.status_code, len(answer.content)) == (200, len(BODY))


def test_a_range_of_another_version_gets_the_whole(client: TestClient) -> None:
    answer = client.get(URL, headers={"range": "bytes=0-9", "if-range": '"other"'})
    assert answer.status_code == 200


def test_head_has_the_size_and_no_body(client: TestClient) -> None:
    answer = client.head(URL)
    assert answer.content == b""
    assert answer.headers["content-length"] == str(len(BODY))


@pytest.mark.parametrize(
    "name",
    [
        "../secret.mp4",
        "%2e%2e/secret.mp4",
        "sha256/../../secret.mp4",
        "sha256%2f..%2f..%2fsecret.mp4",
        "/etc/passwd",
        "index.json",
        "sha256",
        "sha256/",
        NAME.upper(),
        NAME + "%00",
        f"sha256/{DIGEST[:2]}/{'0' * 64}.mp4",
    ],
)
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    answer = client.get(f"/media/{name}")
    assert answer.status_code == 404
    assert SECRET not in answer.content


def test_a_video_is_on_the_shelf_of_its_own_name_only(folder: Path, client: TestClient) -> None:
    """As the studio's storage has it; two names for one video would be one too many."""
    shelf = "00" if DIGEST[:2] != "00" else "11"
    (folder / "sha256" / shelf).mkdir()
    (folder / "sha256" / shelf / f"{DIGEST}.mp4").write_bytes(BODY)
    assert client.get(f"/media/sha256/{shelf}/{DIGEST}.mp4").status_code == 404
    assert client.get(URL).status_code == 200


def test_a_folder_may_come_later(tmp_path: Path, room: Room, live: Live) -> None:
    with TestClient(make_app(room, live, MediaStore(str(tmp_path / "later")))) as client:
        assert client.get(URL).status_code == 404
        place = tmp_path / "later" / NAME
        place.parent.mkdir(parents=True)
        place.write_bytes(BODY)
        assert client.get(URL).content == BODY


def test_without_a_store_there_are_no_videos(room: Room, live: Live) -> None:
    with TestClient(make_app(room, live)) as client:
        assert client.get(URL).status_code == 404
