"""Files that somebody else made: looked into, and made playable from their first bytes."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from rushes.studio.transcode import TranscodeError, index_first, look_into, move_index
from studio.google_videos import FRAMES, mp4


def _packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.dts is not None]


def test_the_index_moves_and_not_a_picture_changes(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(mp4(index_first=False))
    before = _packets(path)
    assert not index_first(path)
    move_index(path)
    assert index_first(path)
    assert _packets(path) == before
    assert len(before) == FRAMES
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(mp4())
    clip = look_into(path)
    assert (clip.codec, clip.size_bytes) == ("h264", path.stat().st_size)
    assert clip.bitrate_bps == pytest.approx(clip.size_bytes * 8, rel=0.1)  # it lasts a second


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"no video at all, just words", mp4()[:700]])
def test_what_is_no_video_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(TranscodeError):
        look_into(path)
    with pytest.raises(TranscodeError):
        move_index(path)
    index_first(path)  # asks no more of a file than its first bytes
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_large_box_is_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    large = (1).to_bytes(4, "big") + b"free" + (24).to_bytes(8, "big") + b"\0" * 8
    path.write_bytes(large + (8).to_bytes(4, "big") + b"mdat" + (8).to_bytes(4, "big") + b"moov")
    assert not index_first(path)
