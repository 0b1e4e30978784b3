"""A transcoded video, opened again: its frames, its sound, its clock, and nothing where it could not be written."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from rushes.studio.transcode import TranscodeError, Upsizing, probe_encoder, transcode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

Frames = Any


def clip(count: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A smooth moving gradient: H.264 can keep it, so a low PSNR means that something is wrong."""
    y, x = np.mgrid[0:height, 0:width]
    frames = [
        np.stack(
            [
                128 + 100 * np.sin(x / max(width, 2) * 3 + t / 6),
                128 + 100 * np.sin(y / max(height, 2) * 3 + t / 9),
                128 + 60 * np.cos((x + y) / (width + height) * 3 + t / 7),
            ],
            axis=-1,
        )
        for t in range(count)
    ]
    return np.stack(frames).astype(np.uint8)


def tone(seconds: float, rate: int, channels: int = 2, amplitude: float = 0.5) -> npt.NDArray[np.float32]:
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave] * channels).astype(np.float32)


def pictures(path: Path) -> npt.NDArray[np.uint8]:
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24", src_colorspace="ITU709") for f in container.decode(video=0)]
    return np.stack(frames).astype(np.uint8)


def heard(path: Path) -> npt.NDArray[np.float32]:
    with av.open(str(path)) as container:
        return np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)


def psnr(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error))


def test_the_frames_come_back(tmp_path: Path) -> None:
    frames = clip(25, 64, 64)
    done = transcode(frames, tmp_path / "v.mp4", fps=25, crf=12)
    back = pictures(done.path)
    assert back.shape == frames.shape
    assert psnr(back, frames) > 38
    assert (done.frames, done.has_audio, done.codec, done.duration_s) == (25, False, "h264", 1.0)
    assert done.size_bytes == done.path.stat().st_size
    assert done.bitrate_bps == done.size_bytes * 8
    assert done.encoder == probe_encoder()
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_lower_quality_is_smaller_and_worse(tmp_path: Path) -> None:
    frames = clip(12, 96, 160)
    good = transcode(frames, tmp_path / "good.mp4", fps=24, crf=10, encoder="libx264")
    bad = transcode(frames, tmp_path / "bad.mp4", fps=24, crf=40, encoder="libx264")
    assert bad.size_bytes < good.size_bytes
    assert psnr(pictures(bad.path), frames) < psnr(pictures(good.path), frames)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), (64, 64)), ((63, 65), (64, 66)), ((1, 1), (2, 2)), ((17, 16), (18, 16))],
)
def test_odd_and_tiny_sizes(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    frames = clip(3, *size)
    done = transcode(frames, tmp_path / "v.mp4", fps=24, crf=10)
    back = pictures(done.path)
    assert back.shape == (3, *expected, 3)
    assert psnr(back[:, : size[0], : size[1]], frames) > 30


@pytest.mark.parametrize(
    ("rate", "stored"), [(48000, 48000), (44100, 44100), (37800, 44100), (120000, 96000)]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_survives(tmp_path: Path, rate: int, stored: int, channels: int) -> None:
    sound = tone(2.0, rate, channels)
    done = transcode(clip(48, 32, 32), tmp_path / "v.mp4", fps=24, audio=sound, audio_rate=rate)
    assert done.has_audio
    with av.open(str(done.path)) as container:
        stream = container.streams.audio[0]
        assert stream.rate == stored
        assert stream.channels == channels
    back = heard(done.path)[:, 2048 : 2 * stored - 2048]  # the codec's edges aside
    assert np.sqrt(np.mean(back**2)) == pytest.approx(np.sqrt(np.mean(sound**2)), rel=0.02)
    spectrum = np.abs(np.fft.rfft(back[0]))
    assert np.argmax(spectrum) * stored / back.shape[1] == pytest.approx(440, abs=1)


@pytest.mark.parametrize("seconds", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("fps", [24, 24000 / 1001, 8])
def test_sound_and_picture_start_and_end_together(tmp_path: Path, seconds: float, fps: float) -> None:
    audio = tone(seconds, 48000)
    done = transcode(clip(24, 32, 32), tmp_path / "v.mp4", fps=fps, audio=audio, audio_rate=48000)
    with av.open(str(done.path)) as container:
        for stream in container.streams:
            assert stream.start_time == 0
            assert stream.duration is not None
            assert stream.time_base is not None
            assert float(stream.duration * stream.time_base) == pytest.approx(24 / fps, abs=1e-3)
    assert done.duration_s == pytest.approx(24 / fps)


def test_a_click_stays_where_it_was(tmp_path: Path) -> None:
    audio = np.zeros((1, 48000), dtype=np.float32)
    audio[0, 24000:24200] = 0.9
    done = transcode(clip(24, 32, 32), tmp_path / "v.mp4", fps=24, audio=audio, audio_rate=48000)
    with av.open(str(done.path)) as container:
        loud: list[float] = []
        for frame in container.decode(audio=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            found = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.4)
            loud += [float(frame.pts * frame.time_base) + i / 48000 for i in found]
    assert min(loud) == pytest.approx(0.5, abs=0.003)


def test_the_index_comes_first_and_nothing_tells_of_the_prompt(tmp_path: Path) -> None:
    done = transcode(clip(5, 64, 64), tmp_path / "v.mp4", fps=24, audio=tone(0.2, 48000), audio_rate=48000)
    content = done.path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    with av.open(str(done.path)) as container:
        assert set(container.metadata) <= {"major_brand", "minor_version", "compatible_brands"}
        for stream in container.streams:
            assert set(stream.metadata) <= {"language", "handler_name", "vendor_id"}


@pytest.mark.parametrize("size", [(64, 64), (144, 240), (160, 272)])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, size: tuple[int, int]) -> None:
    frames, sound = clip(16, *size), tone(0.7, 37800)
    contents = set()
    for index in range(5):
        done = transcode(
            frames, tmp_path / f"{index}.mp4", fps=24, audio=sound, audio_rate=37800, encoder="libx264"
        )
        contents.add(done.path.read_bytes())
    assert len(contents) == 1


def test_an_existing_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "v.mp4"
    target.write_bytes(b"old" * 100_000)
    transcode(clip(3, 32, 32), target, fps=24)
    assert pictures(target).shape[0] == 3


def test_an_encoder_that_cannot_be_opened_gives_way(tmp_path: Path) -> None:
    if probe_encoder() == "h264_nvenc":
        pytest.skip("NVENC works on this machine, so it gives way to nothing")
    done = transcode(clip(3, 64, 64), tmp_path / "v.mp4", fps=24, encoder="h264_nvenc")
    assert done.encoder == "libx264"
    assert pictures(done.path).shape[0] == 3


def test_the_probe_tells_what_the_machine_does(tmp_path: Path) -> None:
    named = probe_encoder()
    done = transcode(clip(3, 256, 256), tmp_path / "v.mp4", fps=24, encoder=named)
    assert done.encoder == named


def limited(path: Path) -> subprocess.CompletedProcess[str]:
    """Encode noise in a process that may write only 16 KiB a file."""
    code = """
import resource, sys
import numpy as np
from rushes.studio.transcode import TranscodeError, transcode
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
noise = np.random.default_rng(1).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
try:
    transcode(noise, sys.argv[1], fps=24)
except TranscodeError as error:
    print(error.errno, error)
"""
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )


def test_a_limit_on_file_size_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    ran = limited(tmp_path / "v.mp4")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(
        f"{errno.EFBIG} could not write the video {tmp_path / 'v.mp4'}: the file would"
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (12, 128, 128, 3), dtype=np.uint8)
    with pytest.raises(TranscodeError, match="no space left on the device") as caught:
        transcode(noise, small_disk / "v.mp4", fps=24)
    assert caught.value.errno == errno.ENOSPC
    assert not list(small_disk.iterdir())


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TranscodeError, match=r"could not write the video .*nowhere.*No such file") as caught:
        transcode(clip(2, 32, 32), tmp_path / "nowhere" / "v.mp4", fps=24)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"frames": np.zeros((2, 8, 8, 4), np.uint8)},
            r"frames must be uint8 .* got uint8 of \(2, 8, 8, 4\)",
        ),
        ({"frames": np.zeros((2, 8, 8, 3), np.float32)}, "got float32"),
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8)}, "at least one pixel"),
        ({"fps": 0}, "fps must be a positive number"),
        ({"fps": float("nan")}, "got nan"),
        ({"fps": float("inf")}, "got inf"),
        ({"crf": 0}, "crf must be from 1"),
        ({"preset": "warp"}, "preset must be one of ultrafast.*got 'warp'"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"audio": np.zeros((2, 100), np.float32)}, "audio needs its sample rate"),
        ({"audio": np.zeros((3, 100), np.float32), "audio_rate": 48000}, "3 channels"),
        ({"audio": np.zeros((2, 0), np.float32), "audio_rate": 48000}, "no samples"),
        ({"audio": np.zeros(100, np.float32), "audio_rate": 48000}, r"shape \(100,\)"),
        ({"audio": np.zeros((1, 100), np.int16), "audio_rate": 48000}, "got int16"),
        ({"audio": np.full((1, 100), np.nan, np.float32), "audio_rate": 48000}, "100 samples that are not"),
    ],
)
def test_what_cannot_be_a_video_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"frames": clip(2, 8, 8), "fps": 24, **change}
    with pytest.raises(ValueError, match=message):
        transcode(path=tmp_path / "v.mp4", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_agrees(tmp_path: Path) -> None:
    done = transcode(
        clip(30, 48, 80), tmp_path / "v.mp4", fps=Fraction(30), audio=tone(1.0, 48000), audio_rate=48000
    )
    ran = subprocess.run(
        [
            "ffprobe",
            "-v",
            "error",
            "-count_frames",
            "-show_streams",
            "-show_format",
            "-of",
            "json",
            done.path,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not ran.stderr
    told = json.loads(ran.stdout)
    video, audio = told["streams"]
    assert (video["codec_name"], video["pix_fmt"], video["color_space"], video["color_range"]) == (
        "h264",
        "yuv420p",
        "bt709",
        "tv",
    )
    assert (video["width"], video["height"], video["nb_read_frames"]) == (80, 48, "30")
    assert video["r_frame_rate"] == "30/1"
    assert audio["codec_name"] == "aac"
    assert float(video["duration"]) == float(audio["duration"]) == 1.0
    assert int(told["format"]["bit_rate"]) == pytest.approx(done.bitrate_bps, rel=0.01)


@pytest.mark.parametrize("method", ["nearest", "lanczos"])
def test_a_small_clip_is_made_larger_and_the_file_says_so(tmp_path: Path, method: Upsizing) -> None:
    frames = clip(4, 48, 64)
    done = transcode(frames, tmp_path / "v.mp4", fps=8, crf=5, upsize=method)
    back = pictures(done.path)
    assert back.shape == (4, 288, 384, 3)
    assert psnr(back[:, 3::6, 3::6], frames) > 30  # in the middle of each pixel's square
    assert done.upsized is not None
    assert (done.upsized.factor, done.upsized.method) == (6, method)
    with av.open(str(done.path)) as container:
        assert container.metadata["comment"] == f"upsized 6x from 64x48 ({method})"


def test_nearest_keeps_edges_that_lanczos_smooths(tmp_path: Path) -> None:
    frames = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    frames[:, :, 32:] = 200
    rows = {}
    methods: tuple[Upsizing, ...] = ("nearest", "lanczos")
    for method in methods:
        done = transcode(frames, tmp_path / f"{method}.mp4", fps=8, crf=1, upsize=method)
        rows[method] = pictures(done.path)[0, 128, :, 1].astype(int)
    steps = {method: int(np.abs(np.diff(row)).max()) for method, row in rows.items()}
    assert steps["nearest"] > 2 * steps["lanczos"]


def test_what_is_large_enough_stays_as_it_is(tmp_path: Path) -> None:
    done = transcode(clip(2, 256, 320), tmp_path / "v.mp4", fps=8, upsize="lanczos")
    assert done.upsized is None
    assert pictures(done.path).shape == (2, 256, 320, 3)
    with av.open(str(done.path)) as container:
        assert "comment" not in container.metadata
