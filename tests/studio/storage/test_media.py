"""Videos put into a real store and read back, and stores that are full, broken, absent or hostilely asked."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.studio.storage import Media, NoSuchObject, StorageError, StoredObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

LARGE = 11 * 1024 * 1024 + 7  # three parts


def name_of(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"sha256/{digest[:2]}/{digest}.mp4"


def written(folder: Path, content: bytes, name: str = "render.mp4") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


async def collected(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "media" / "deeper"


@pytest.fixture(params=["folder", "file url", "memory"])
def media(request: pytest.FixtureRequest, root: Path) -> Media:
    if request.param == "memory":
        return Media("memory:///")
    return Media(root if request.param == "folder" else root.as_uri())


@pytest.mark.parametrize("size", [0, 1, 100_000, LARGE])
def test_what_is_put_is_what_is_read(media: Media, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    stored = media.put(written(tmp_path, content))
    assert stored == StoredObject(name_of(content), size, hashlib.sha256(content).hexdigest())
    assert media.head(stored.name) == stored
    assert b"".join(media.open_sync(stored.name)) == content
    assert asyncio.run(collected(media.open(stored.name))) == content


def test_large_objects_come_in_pieces(media: Media, tmp_path: Path) -> None:
    stored = media.put(written(tmp_path, os.urandom(LARGE)))
    assert all(len(piece) <= LARGE for piece in media.open_sync(stored.name))
    if not media.location.startswith("memory"):
        assert len(list(media.open_sync(stored.name))) > 10


@settings(deadline=None)
@given(data=st.data())
def test_ranges_are_slices(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("ranges")
    content = data.draw(st.binary(max_size=300))
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.none() | st.integers(start, len(content) + 50))
    media = Media("memory:///")
    stored = media.put(written(folder, content))
    assert b"".join(media.open_sync(stored.name, start, end)) == content[start:end]
    assert asyncio.run(collected(media.open(stored.name, start, end))) == content[start:end]


@pytest.mark.parametrize(("start", "end"), [(-1, None), (11, None), (5, 4), (0, -1)])
def test_impossible_ranges_are_refused(media: Media, tmp_path: Path, start: int, end: int | None) -> None:
    stored = media.put(written(tmp_path, b"0123456789"))
    with pytest.raises(ValueError, match="is not within 10 bytes"):
        list(media.open_sync(stored.name, start, end))
    with pytest.raises(ValueError, match="is not within 10 bytes"):
        asyncio.run(collected(media.open(stored.name, start, end)))


def test_storing_twice_is_storing_once(root: Path, tmp_path: Path) -> None:
    media = Media(root)
    stored = media.put(written(tmp_path, b"same"))
    before = (root / stored.name).stat()
    assert media.put(written(tmp_path, b"same", "again.mp4")) == stored
    after = (root / stored.name).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert files(root) == [stored.name]


def test_a_damaged_object_is_mended_by_the_next_put(root: Path, tmp_path: Path) -> None:
    media = Media(root)
    stored = media.put(written(tmp_path, b"whole"))
    (root / stored.name).write_bytes(b"wh")
    media.put(tmp_path / "render.mp4")
    assert b"".join(media.open_sync(stored.name)) == b"whole"


def test_many_writers_of_one_video_agree(root: Path, tmp_path: Path) -> None:
    content = os.urandom(LARGE)
    source = written(tmp_path, content)
    stored: list[StoredObject] = []
    threads = [threading.Thread(target=lambda: stored.append(Media(root).put(source))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(stored) == {StoredObject(name_of(content), LARGE, hashlib.sha256(content).hexdigest())}
    assert files(root) == [name_of(content)]
    assert b"".join(Media(root).open_sync(name_of(content))) == content


def test_another_process_sees_it(root: Path, tmp_path: Path) -> None:
    stored = Media(root).put(written(tmp_path, b"shared"))
    code = (
        "import sys; from rushes.studio.storage import Media; "
        "sys.stdout.buffer.write(b''.join(Media(sys.argv[1]).open_sync(sys.argv[2])))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(root), stored.name], capture_output=True, check=True
    )
    assert ran.stdout == b"shared"


def test_delete_removes_and_may_be_repeated(media: Media, tmp_path: Path) -> None:
    stored = media.put(written(tmp_path, b"gone soon"))
    media.delete(stored.name)
    with pytest.raises(NoSuchObject, match=stored.name):
        media.head(stored.name)
    with pytest.raises(NoSuchObject):
        list(media.open_sync(stored.name))
    with pytest.raises(NoSuchObject):
        asyncio.run(collected(media.open(stored.name)))
    media.delete(stored.name)


HEX = "a" * 64
HOSTILE = [
    "",
    "../../etc/passwd",
    f"sha256/aa/{HEX}.mp4\n",
    f"/sha256/aa/{HEX}.mp4",
    f"sha256/ab/{HEX}.mp4",
    f"sha256/aa/{HEX.upper()}.mp4",
    f"sha256/aa/{HEX}.mp4/../x",
    f"sha256/../aa/{HEX}.mp4",
    f"sha256/aa/{HEX}",
    f"sha256/aa/{HEX[:-1]}.mp4",
    f"sha256/aa/{HEX}.mp4\x00",
    f"sha256\\aa\\{HEX}.mp4",
    "sha256/٣٣/" + "٣" * 64 + ".mp4",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_never_reach_the_store(media: Media, name: str) -> None:
    for ask in (media.head, media.delete, media.open, media.open_sync):
        with pytest.raises(NoSuchObject) as caught:
            ask(name)
        assert isinstance(caught.value, KeyError)
        assert str(caught.value).isascii()
        assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(name=st.text(max_size=100))
def test_no_text_is_a_name(name: str) -> None:
    with pytest.raises(NoSuchObject):
        Media("memory:///").head(name)


def test_a_store_that_is_a_file_is_told(tmp_path: Path) -> None:
    place = written(tmp_path, b"", "not-a-folder")
    with pytest.raises(StorageError, match=r"could not open the store .*not-a-folder: .*exists"):
        Media(place)


def test_a_store_that_cannot_be_written_is_told(root: Path, tmp_path: Path) -> None:
    media = Media(root)
    (root / "sha256").write_bytes(b"in the way")
    with pytest.raises(StorageError, match="Not a directory") as caught:
        media.put(written(tmp_path, b"video"))
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_source_that_is_not_there_is_told(media: Media, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"lost\.mp4"):
        media.put(tmp_path / "lost.mp4")


NEVER_THE_SAME = Path("/proc/sys/kernel/random/uuid")  # Linux makes another one at each reading


@pytest.mark.skipif(not NEVER_THE_SAME.exists(), reason="there is no file here that changes at each reading")
def test_a_source_that_changes_meanwhile_is_not_published(root: Path) -> None:
    with pytest.raises(StorageError, match="changed while it was being stored"):
        Media(root).put(NEVER_THE_SAME)
    assert files(root) == []


def mounted(folder: Path, options: str) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    if not mounted(folder, "size=1m"):
        pytest.skip("mounting a small file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    media = Media(small_disk)
    kept = media.put(written(tmp_path, b"small"))
    with pytest.raises(StorageError, match="No space left on device") as caught:
        media.put(written(tmp_path, os.urandom(3 * 1024 * 1024)))
    assert str(small_disk) in str(caught.value)
    assert files(small_disk) == [kept.name]
    assert b"".join(media.open_sync(kept.name)) == b"small"


def test_a_read_only_disk_is_told(small_disk: Path, tmp_path: Path) -> None:
    media = Media(small_disk)
    kept = media.put(written(tmp_path, b"small"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="Read-only file system"):
        media.put(written(tmp_path, b"another"))
    with pytest.raises(StorageError, match="Read-only file system"):
        media.delete(kept.name)
    assert b"".join(media.open_sync(kept.name)) == b"small"


def test_a_limit_on_file_size_is_told_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from rushes.studio.storage import Media, StorageError
media = Media(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    media.put(Path(sys.argv[2]))
except StorageError as error:
    print(error)
"""
    source = written(tmp_path, os.urandom(1024 * 1024))
    ran = subprocess.run(
        [sys.executable, "-c", code, str(root), str(source)], capture_output=True, text=True, check=True
    )
    assert "File too large" in ran.stdout
    assert str(root) in ran.stdout
    assert files(root) == []


def test_credentials_stay_out_of_errors(tmp_path: Path) -> None:
    media = Media(
        "https://someone:hunter2@127.0.0.1:9/videos?sig=SIGNATURE",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    assert media.location == "https://127.0.0.1:9/videos"
    asked: list[Callable[[], object]] = [
        lambda: media.put(written(tmp_path, b"x")),
        lambda: media.head(name_of(b"x")),
    ]
    for ask in asked:
        with pytest.raises(StorageError) as caught:
            ask()
        text = str(caught.value)
        assert "https://127.0.0.1:9/videos" in text
        assert caught.value.__cause__ is None
        assert not [secret for secret in ("someone", "hunter2", "SIGNATURE") if secret in text]


def test_an_unknown_kind_of_store_is_told() -> None:
    with pytest.raises(StorageError, match=r"could not open the store nope://elsewhere: .*recogni"):
        Media("nope://user:secret@elsewhere?key=1")
