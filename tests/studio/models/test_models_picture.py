"""A video that begins with a picture: made in parts, and after a loss, it is the video of one plain call."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch

from rushes.studio import models
from rushes.studio.models import small
from rushes.studio.models.base import DiffusersBackend
from rushes.studio.models.ltx2 import guidance

PROMPT, NEGATIVE = "A red ball rolls down a green hill", "blurry"


def _png(shade: int) -> bytes:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48] = (shade, 40, 200)
    pixels[20:40, 30:70] = (10, shade, 90)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def ltx2(checkpoints: Path) -> DiffusersBackend:
    made = models.backend("LTX2", small.path("LTX2", checkpoints))
    made.load("all")
    return made


def _request(ltx2: DiffusersBackend, shade: int = 220) -> models.RenderRequest:
    plain = ltx2.card.request(seed=5, steps=4, width=96, height=64)
    return dataclasses.replace(plain, picture=models.Picture.of(_png(shade)))


def test_it_is_the_video_of_one_plain_call(ltx2: DiffusersBackend, checkpoints: Path) -> None:
    request = _request(ltx2)
    latents = ltx2.denoise(ltx2.encode(PROMPT, NEGATIVE), request)
    frames = ltx2.decode(latents, request)

    plain = diffusers.LTX2ImageToVideoPipeline.from_pretrained(str(small.path("LTX2", checkpoints)))
    plain.set_progress_bar_config(disable=True)
    video = plain(
        image=PIL.Image.open(io.BytesIO(_png(220))),
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        width=96,
        height=64,
        num_frames=request.num_frames,
        frame_rate=24.0,
        num_inference_steps=4,
        guidance_scale=request.guidance_scale,
        audio_guidance_scale=7.0,
        max_sequence_length=256,
        generator=torch.Generator("cpu").manual_seed(5),
        output_type="np",
        **guidance(plain.transformer.config),
    ).frames[0]
    assert np.array_equal(frames, (np.asarray(video) * 255).round().astype(np.uint8))


def test_it_goes_on_from_a_checkpoint(ltx2: DiffusersBackend, tmp_path: Path) -> None:
    request, encoded = _request(ltx2), ltx2.encode(PROMPT, NEGATIVE)

    def keep(event: models.StepEvent) -> None:
        if event.index == 2:
            event.checkpoint().save(tmp_path / "2")

    whole = ltx2.denoise(encoded, request, keep)
    resumed = ltx2.denoise(encoded, request, resume=models.Checkpoint.load(tmp_path / "2"))
    assert all(torch.equal(whole.tensors[name], resumed.tensors[name]) for name in whole.tensors)


def test_another_picture_is_another_video(ltx2: DiffusersBackend) -> None:
    encoded = ltx2.encode(PROMPT, NEGATIVE)
    one, other = _request(ltx2, 220), _request(ltx2, 10)
    none = dataclasses.replace(one, picture=None)
    assert len({ltx2.fingerprint(encoded, request) for request in (one, other, none)}) == 3
    videos = [ltx2.denoise(encoded, request).tensors["latents"] for request in (one, other, none)]
    assert not any(torch.equal(videos[a], videos[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_a_picture_shows_in_no_repr() -> None:
    picture = models.Picture.of(_png(1))
    assert repr(picture) == f"Picture(sha256='{picture.sha256}')"


def test_it_lets_go_of_its_memory_with_the_rest(checkpoints: Path) -> None:
    made = models.backend("LTX2", small.path("LTX2", checkpoints))
    made.load("all")
    made.instrument(sample_every=0)
    made.denoise(made.encode(PROMPT), _request(made))
    made.unload()
    with pytest.raises(models.NotLoaded):
        made.denoise(models.Encoded("LTX2", {}), _request(made))


@pytest.mark.parametrize("name", ["MOCHI1", "OPENSORA"])
def test_the_others_say_that_they_can_not(name: str, checkpoints: Path) -> None:
    made = models.backend(name, small.path(name, checkpoints))
    made.load("all")
    assert not made.card.takes_picture
    request = dataclasses.replace(made.card.request(seed=5, steps=2), picture=models.Picture.of(_png(1)))
    with pytest.raises(models.UnsupportedRequest, match="can't begin a video with a picture"):
        made.denoise(made.encode(PROMPT), request)
