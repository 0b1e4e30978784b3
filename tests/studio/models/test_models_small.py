"""Small checkpoints: the same on every build, whole or rebuilt, never half."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from rushes.studio import models
from rushes.studio.models import small, small_nets
from rushes.studio.models.cards import NAMES


def _digests(folder: Path) -> dict[str, str]:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert sum(name.endswith(".safetensors") for name in files) >= 3
    return dict(files)


@pytest.mark.parametrize("name", NAMES)
def test_two_builds_are_identical_and_leave_the_generator_alone(
    name: str, checkpoints: Path, tmp_path: Path
) -> None:
    torch.manual_seed(77)
    torch.rand(3)
    before = torch.get_rng_state()
    again = small.build(name, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert _digests(again) == _digests(small.path(name, checkpoints))


def _count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    builds: list[str] = []
    save = small_nets.save

    def counted(name: str, folder: Path) -> None:
        builds.append(name)
        save(name, folder)

    monkeypatch.setattr(small_nets, "save", counted)
    return builds


def test_builds_at_once_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = _count(monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        folders = set(pool.map(lambda _: small.build("OPENSORA", tmp_path), range(3)))
    assert builds == ["OPENSORA"]
    assert folders == {small.path("OPENSORA", tmp_path)}
    assert small.build("OPENSORA", tmp_path) in folders
    assert builds == ["OPENSORA"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest", "config"])
def test_damage_is_seen_and_mended(
    damage: str, checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "_SHIPPED", tmp_path / "nothing")
    folder = small.path("OPENSORA", tmp_path)
    shutil.copytree(small.path("OPENSORA", checkpoints), folder)
    whole = _digests(folder)
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    if damage == "flip":
        data[-5] ^= 1
        weights.write_bytes(data)
    elif damage == "truncate":
        weights.write_bytes(data[:-100])
    elif damage == "remove":
        weights.unlink()
    elif damage == "manifest":
        (folder / "manifest.json").write_text("{")
    else:
        (folder / "vae" / "config.json").write_text("{}")
    with pytest.raises(models.WeightsMissing, match="OPENSORA"):
        models.backend("OPENSORA", folder).load("encode")
    builds = _count(monkeypatch)
    assert models.locate("OPENSORA", None, tmp_path) == folder
    assert builds == ["OPENSORA"]
    assert _digests(folder) == whole
    models.backend("OPENSORA", folder).load("encode")


def test_a_build_that_died_is_taken_up(tmp_path: Path) -> None:
    partial = tmp_path / f".{small.path('OPENSORA', tmp_path).name}.partial"
    (partial / "vae").mkdir(parents=True)
    (partial / "vae" / "junk.safetensors").write_bytes(b"half")
    folder = small.build("OPENSORA", tmp_path)
    assert not partial.exists()
    assert "vae/junk.safetensors" not in _digests(folder)


def test_an_own_folder_is_never_rebuilt(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with pytest.raises(models.WeightsMissing, match="model_index"):
        models.locate("MOCHI1", own, tmp_path)
    assert list(own.iterdir()) == []
