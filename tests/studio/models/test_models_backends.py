"""Backends: a video made in parts is the video that one call of the real pipeline makes."""

from __future__ import annotations

import itertools
import logging
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from rushes.studio import models
from rushes.studio.models import small
from rushes.studio.models.base import DiffusersBackend
from rushes.studio.models.cards import NAMES
from rushes.studio.models.offline import libraries

PROMPT = "A red ball rolls down a green hill"
NEGATIVE = "blurry"


class Recorder:
    """Keeps the steps it is told of, and cancels after `stop` of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.steps: list[models.StepEvent] = []
        self._stop = stop

    def __call__(self, event: models.StepEvent) -> None:
        self.steps.append(event)
        if event.index == self._stop:
            raise InterruptedError("cancelled")


def _backend(name: str, root: Path, clock: Callable[[], int] = time.monotonic_ns) -> DiffusersBackend:
    return models.backend(name, small.path(name, root), monotonic_ns=clock)


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest, checkpoints: Path) -> DiffusersBackend:
    made = _backend(request.param, checkpoints)
    made.load("all")
    return made


def _undisturbed(name: str, root: Path, request: models.RenderRequest) -> tuple[Any, Any]:
    """Frames (uint8) and sound of one plain call of the pipeline."""
    diffusers, _ = libraries()
    pipe = diffusers.DiffusionPipeline.from_pretrained(str(small.path(name, root)))
    pipe.set_progress_bar_config(disable=True)
    calls: dict[str, dict[str, Any]] = {
        "MOCHI1": {"num_frames": request.num_frames, "max_sequence_length": 256},
        "OPENSORA": {"video_length": request.num_frames, "clean_caption": False},
        "LTX2": {
            "num_frames": request.num_frames,
            "frame_rate": float(request.fps),
            "max_sequence_length": 256,
            "spatio_temporal_guidance_blocks": [3],
            "use_cross_timestep": False,
        },
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="In CPU autocast")
        made = pipe(
            PROMPT,
            negative_prompt=NEGATIVE,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="pil",
            **calls[name],
        )
    frames = np.stack([np.asarray(image) for image in made.frames[0]])
    return frames, getattr(made, "audio", None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 64), (96, 32)])
def test_in_parts_and_in_two_backends_it_is_the_pipelines_own_video(
    name: str, size: tuple[int, int], checkpoints: Path, tmp_path: Path
) -> None:
    text = _backend(name, checkpoints)
    text.load("encode")
    text.encode(PROMPT, NEGATIVE).save(tmp_path / "encoded")

    video = _backend(name, checkpoints)
    video.load("generate")
    request = video.card.request(seed=11, steps=4, width=size[0], height=size[1])
    video.denoise(models.Encoded.load(tmp_path / "encoded"), request, Recorder()).save(tmp_path / "latents")
    latents = models.Latents.load(tmp_path / "latents")
    frames, audio = video.decode(latents, request), video.audio(latents, request)

    expected_frames, expected_sound = _undisturbed(name, checkpoints, request)
    assert frames.dtype == np.uint8
    assert frames.shape == (request.num_frames, request.height, request.width, 3)
    np.testing.assert_array_equal(frames, expected_frames)
    assert (audio is None) == (not video.card.has_audio) == (expected_sound is None)
    if audio is not None:
        assert audio.samples.dtype == np.float32
        np.testing.assert_array_equal(audio.samples, expected_sound[0].float().numpy())


def test_parts_hold_only_what_they_need(checkpoints: Path) -> None:
    made = _backend("LTX2", checkpoints)
    assert isinstance(made, models.Backend)
    assert made.loaded == frozenset()
    request = made.card.request(seed=1, steps=2)
    with pytest.raises(models.NotLoaded, match="call load\\('encode'\\)"):
        made.encode(PROMPT)
    made.load("encode")
    encoded = made.encode(PROMPT)
    with pytest.raises(models.NotLoaded, match="part generate is not loaded"):
        made.denoise(encoded, request)
    text = made.pipeline("encode")
    assert {name for name, part in text.components.items() if part is not None} == {
        "text_encoder",
        "tokenizer",
        "connectors",
    }
    made.load("all")
    assert made.pipeline("encode") is text
    assert made.loaded == {"encode", "generate"}
    generate = {name for name, part in made.pipeline("generate").components.items() if part is not None}
    assert generate == {"scheduler", "vae", "audio_vae", "transformer", "vocoder"}
    made.unload()
    assert made.loaded == frozenset()


def test_each_step_is_told_of_with_its_time(checkpoints: Path) -> None:
    for name in NAMES:
        ticks = itertools.count(1000)
        made = _backend(name, checkpoints, lambda ticks=ticks: next(ticks))  # type: ignore[misc] # bound early
        made.load("all")
        recorder = Recorder()
        made.denoise(made.encode(PROMPT), made.card.request(seed=1, steps=5), recorder)
        # The clock is read twice a step, however many passes the step has.
        told = [(event.index, event.total, event.elapsed_ns) for event in recorder.steps]
        assert told == [(index, 5, 1) for index in range(1, 6)]


def test_a_cancelled_render_leaves_nothing_behind(loaded: DiffusersBackend) -> None:
    request = loaded.card.request(seed=4, steps=4)
    encoded = loaded.encode(PROMPT)
    before = loaded.denoise(encoded, request)
    pipe = loaded.pipeline("generate")
    attributes = set(vars(pipe))
    recorder = Recorder(stop=2)
    with pytest.raises(InterruptedError):
        loaded.denoise(encoded, request, recorder)
    assert len(recorder.steps) == 2
    assert set(vars(pipe)) == attributes
    assert not pipe.transformer._forward_pre_hooks
    after = loaded.denoise(encoded, request)
    for name, tensor in before.tensors.items():
        assert torch.equal(after.tensors[name], tensor)


def test_everything_asked_for_matters(loaded: DiffusersBackend) -> None:
    def frames(prompt: str = PROMPT, negative: str = "", **wanted: Any) -> Any:
        request = loaded.card.request(**{"seed": 1, "steps": 4, **wanted})
        latents = loaded.denoise(loaded.encode(prompt, negative), request)
        return loaded.decode(latents, request).astype(int)

    plain = frames()
    assert np.array_equal(plain, frames())
    for other in (
        frames(seed=2),
        frames(prompt="rain on a tin roof"),
        frames(negative=NEGATIVE),
        frames(steps=7),
        frames(guidance_scale=1.0),
    ):
        assert np.abs(other - plain).mean() > 1  # grey levels


def test_pictures_and_sound_are_alive(loaded: DiffusersBackend) -> None:
    request = loaded.card.request(seed=9)
    latents = loaded.denoise(loaded.encode(PROMPT), request)
    frames = loaded.decode(latents, request).astype(float)
    assert frames.std(axis=(1, 2)).min() > 10  # every channel of every frame has contrast
    assert (
        np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3)).min() > 0.5
    )  # and every frame differs from the last
    assert np.isin(frames, (0, 255)).mean() < 0.1
    audio = loaded.audio(latents, request)
    if audio is not None:
        assert audio.samples.shape[0] == 2
        seconds = audio.samples.shape[1] / audio.sample_rate
        assert abs(seconds - request.num_frames / request.fps) < 0.05
        assert np.sqrt((audio.samples**2).mean(axis=1)).min() > 0.02
        assert np.abs(audio.samples).max() < 0.99
        assert np.abs(audio.samples.mean(axis=1)).max() < 0.001


@pytest.mark.parametrize("prompt", ["", "  \n\t ", "日本 ünïcode 🎬", "word " * 200, "x" * 1000])
def test_no_prompt_is_too_odd_and_none_is_logged(prompt: str, loaded: DiffusersBackend) -> None:
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    for library in ("diffusers", "transformers"):
        logging.getLogger(library).addHandler(handler)
    try:
        encoded = loaded.encode(prompt)
    finally:
        for library in ("diffusers", "transformers"):
            logging.getLogger(library).removeHandler(handler)
    assert records == []
    assert encoded.truncated == (len(prompt) > 500)
    latents = loaded.denoise(encoded, loaded.card.request(seed=1, steps=2))
    assert torch.isfinite(latents.tensors["latents"]).all()


def test_latents_and_text_of_another_model_are_refused(loaded: DiffusersBackend) -> None:
    request = loaded.card.request(seed=1)
    with pytest.raises(models.CheckpointError, match="made by VEO3"):
        loaded.denoise(models.Encoded("VEO3", {}), request)
    with pytest.raises(models.CheckpointError, match="made by VEO3"):
        loaded.decode(models.Latents("VEO3", {}), request)
    with pytest.raises(models.CheckpointError, match="made by VEO3"):
        loaded.audio(models.Latents("VEO3", {}), request)


def test_nothing_asks_the_network(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a network connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in NAMES:
        made = _backend(name, checkpoints)
        made.load("all")
        made.encode(PROMPT)


def test_sizes_come_from_the_weights_not_from_the_small_ones(checkpoints: Path, tmp_path: Path) -> None:
    diffusers, _ = libraries()
    pipe = diffusers.LattePipeline.from_pretrained(str(small.path("OPENSORA", checkpoints)))
    config = dict(pipe.transformer.config) | {"video_length": 8, "sample_size": 16}
    transformer = diffusers.LatteTransformer3DModel.from_config(config)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(16,) * 3,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
    )
    diffusers.LattePipeline(
        tokenizer=pipe.tokenizer,
        text_encoder=pipe.text_encoder,
        scheduler=pipe.scheduler,
        transformer=transformer,
        vae=vae,
    ).save_pretrained(str(tmp_path))
    made = models.backend("OPENSORA", tmp_path)
    made.load("all")
    request = made.card.request(seed=1, steps=2)
    latents = made.denoise(made.encode(PROMPT), request)
    assert latents.tensors["latents"].shape == (1, 4, 8, 16, 16)
    assert made.decode(latents, request).shape == (8, 64, 64, 3)
    assert (request.num_frames, made.card.default_seconds, made.card.size_multiple) == (8, 1.0, 8)
    with pytest.raises(models.CheckpointError, match="decode to"):
        made.decode(latents, made.card.request(seed=1, height=32))


def test_weights_that_diffusers_refuses_are_explained(checkpoints: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for source in small.path("OPENSORA", checkpoints).rglob("*"):
        if source.is_file() and source.name != "manifest.json":
            target = folder / source.relative_to(small.path("OPENSORA", checkpoints))
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(source.read_bytes())
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"not safetensors at all")
    made = models.backend("OPENSORA", folder, setting="weights.opensora")
    with pytest.raises(models.WeightsMissing, match=r"diffusers cannot load it .* Point weights\.opensora"):
        made.load("generate")
