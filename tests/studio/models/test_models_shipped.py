"""The trained checkpoints that come with the package: small, whole, and they draw what they are told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rushes.studio import models
from rushes.studio.models import small
from rushes.studio.models.cards import NAMES, TRAINED
from training import captions, checker, world

SHIPPED = [name for name in NAMES if small.shipped(name) is not None]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """What is drawn depends on the count of threads in the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_whole_and_what_the_studio_takes_by_default(name: str, tmp_path: Path) -> None:
    folder = models.locate(name, None, tmp_path)
    assert folder == small.shipped(name)
    assert not list(tmp_path.iterdir())
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 12_000_000
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert there == {*listed, "manifest.json"}
    assert models.available({})[name] == TRAINED[name]
    assert models.backend(name, folder).card == TRAINED[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_damage_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small.shipped(name)
    assert folder is not None
    shutil.copytree(folder, tmp_path / "checkpoints" / name.lower())
    monkeypatch.setattr(small, "_SHIPPED", tmp_path / "checkpoints")
    weights = next((tmp_path / "checkpoints" / name.lower() / "transformer").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    with pytest.raises(models.WeightsMissing, match=f"{name}.* is damaged: install rushes again"):
        models.locate(name, None, tmp_path / "cache")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", SHIPPED)
def test_it_draws_combinations_that_it_never_saw(name: str, tmp_path: Path) -> None:
    backend = models.backend(name, models.locate(name, None, tmp_path))
    backend.load("all")
    combinations = world.held_out_combinations()[::6]
    right = 0
    for seed, (shape, colour, direction) in enumerate(combinations):
        request = backend.card.request(seed=seed)
        encoded = backend.encode(captions.simple(shape, colour, direction))
        seen = checker.judge(backend.decode(backend.denoise(encoded, request), request))
        right += (seen.colour, seen.shape, seen.direction) == (colour, shape, direction)
    assert right >= 0.6 * len(combinations)  # of eleven; the card has figures over 200


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", SHIPPED)
def test_the_same_seed_is_the_same_clip_and_another_is_another(name: str, tmp_path: Path) -> None:
    backend = models.backend(name, models.locate(name, None, tmp_path))
    backend.load("all")
    encoded = backend.encode("a blue square moves left")

    def clip(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        request = backend.card.request(seed=seed, steps=4)
        return backend.decode(backend.denoise(encoded, request), request)

    assert (clip(1) == clip(1)).all()
    assert (clip(1) != clip(2)).any()


_DRAW = """
import hashlib, sys, torch
from pathlib import Path
from rushes.studio import models
torch.set_num_threads(2)
made = models.backend(sys.argv[1], Path(sys.argv[2]))
made.load("all")
request = made.card.request(seed=3, steps=6)
frames = made.decode(made.denoise(made.encode("a blue square moves left"), request), request)
print(hashlib.sha256(frames.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("name", SHIPPED)
def test_another_process_with_as_many_threads_draws_the_same_bytes(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _DRAW, name, str(models.locate(name, None, tmp_path))]
    hashes = {subprocess.run(command, check=True, capture_output=True).stdout for _ in range(2)}
    assert len(hashes) == 1
    assert len(hashes.pop().strip()) == 64
