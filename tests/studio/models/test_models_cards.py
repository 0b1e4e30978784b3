"""Cards: limits in clear words, without torch, from configs where the weights are the user's own."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.studio import models
from rushes.studio.models import small
from rushes.studio.models.cards import NAMES, SMALL


def test_cards_come_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from rushes.studio import models; cards = models.available({});"
        "cards['LTX2'].request(seed=1);"
        "print(*cards, *({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["MOCHI1", "LTX2", "OPENSORA"]


@given(name=st.sampled_from(["MOCHI1", "LTX2"]), seconds=st.floats(1, 5))
def test_frames_fit_the_family_and_the_duration(name: str, seconds: float) -> None:
    card = SMALL[name]
    frames = card.frames_for(seconds)
    assert frames % {"MOCHI1": 6, "LTX2": 8}[name] == 1
    assert abs((frames - 1) / card.fps - seconds) <= card.frame_group / card.fps / 2 + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_offered(name: str) -> None:
    card = SMALL[name]
    request = card.request(seed=5)
    assert (request.width, request.height, request.steps) == (64, 64, 8)
    assert request.num_frames == {"MOCHI1": 25, "LTX2": 25, "OPENSORA": 16}[name]
    assert request.guidance_scale > 1


def test_opensora_offers_one_duration() -> None:
    card = SMALL["OPENSORA"]
    assert card.request(seed=0, seconds=2).num_frames == 16
    with pytest.raises(models.UnsupportedRequest, match="exactly 2 s, not 3 s"):
        card.request(seed=0, seconds=3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"width": 72}, "width 72 .* multiples of 16 from 32 to 128"),
        ({"height": 144}, "height 144"),
        ({"height": 0}, "height 0"),
        ({"width": -16}, "width -16"),
        ({"seconds": 0.5}, "1 to 5 s, not 0.5 s"),
        ({"seconds": math.nan}, "not nan s"),
        ({"seconds": math.inf}, "not inf s"),
        ({"steps": 0}, "2 to 50 steps, not 0"),
        ({"steps": 51}, "not 51"),
        ({"seed": -1}, "seed .* not -1"),
        ({"seed": 2**63}, "seed"),
        ({"guidance_scale": math.nan}, "guidance"),
        ({"guidance_scale": 0.5}, "not 0.5"),
    ],
)
def test_what_is_not_offered_is_refused_with_its_value(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(models.UnsupportedRequest, match=said):
        SMALL["MOCHI1"].request(**{"seed": 1, **wrong})


def test_unknown_names_list_the_known(tmp_path: Path) -> None:
    with pytest.raises(models.UnknownModel, match="no model SORA3; there are MOCHI1, LTX2, OPENSORA"):
        models.available({"SORA3": None})
    with pytest.raises(models.UnknownModel, match="MOCHI1"):
        models.backend("VEO3", tmp_path)
    with pytest.raises(models.UnknownModel, match="MOCHI1"):
        models.locate("../../etc", None, tmp_path)


def _own(name: str, checkpoints: Path, tmp_path: Path) -> Path:
    """A user's folder of weights: like a small one, but nothing says that Rushes built it."""
    folder = tmp_path / "own"
    shutil.copytree(small.path(name, checkpoints), folder)
    (folder / "manifest.json").unlink()
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_gives_its_card_by_its_configs(name: str, checkpoints: Path, tmp_path: Path) -> None:
    folder = _own(name, checkpoints, tmp_path)
    cards = models.available({name: folder})
    card, known = cards[name], SMALL[name]
    assert not card.small
    assert (card.size_multiple, card.frame_group) == (known.size_multiple, known.frame_group)
    assert (card.fixed_frames, card.has_audio, card.text_encoder_role) == (
        known.fixed_frames,
        known.has_audio,
        known.text_encoder_role,
    )
    card.request(seed=1)  # its own defaults lie within its own limits
    usual = models.available({})
    assert all(cards[other] == usual[other] for other in NAMES if other != name)


def _change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_sizes_and_lengths_follow_the_configs(checkpoints: Path, tmp_path: Path) -> None:
    latte = _own("OPENSORA", checkpoints, tmp_path / "latte")
    _change(latte / "transformer" / "config.json", video_length=24, sample_size=64)
    card = models.available({"OPENSORA": latte})["OPENSORA"]
    assert card.fixed_frames == 24
    assert card.min_seconds == card.max_seconds == card.default_seconds == 3.0
    assert (card.default_width, card.default_height) == (512, 512)

    mochi = _own("MOCHI1", checkpoints, tmp_path / "mochi")
    _change(mochi / "vae" / "config.json", temporal_expansions=[1, 2, 2], spatial_expansions=[2, 2, 4])
    card = models.available({"MOCHI1": mochi})["MOCHI1"]
    assert (card.frame_group, card.size_multiple) == (4, 32)

    ltx = _own("LTX2", checkpoints, tmp_path / "ltx")
    # The released model's VAE leaves the ratios to be derived from its four stages and its patch of 4.
    _change(
        ltx / "vae" / "config.json",
        spatial_compression_ratio=None,
        temporal_compression_ratio=None,
        spatio_temporal_scaling=[True, True, True],
    )
    card = models.available({"LTX2": ltx})["LTX2"]
    assert (card.frame_group, card.size_multiple, card.max_seconds) == (8, 32, 20.0)


def _without(path: str) -> Any:
    def remove(folder: Path) -> None:
        target = folder / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return remove


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_without("."), "no such folder"),
        (_without("model_index.json"), "cannot read model_index.json"),
        (_without("vae"), "the folder vae is absent"),
        (_without("vae/config.json"), "cannot read vae/config.json"),
        (_without("transformer/diffusion_pytorch_model.safetensors"), "transformer has no"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "not a JSON object"),
        (
            lambda folder: _change(folder / "model_index.json", _class_name="WanPipeline"),
            "names a WanPipeline",
        ),
        (
            lambda folder: (folder / "vae" / "x.safetensors.index.json").write_text(
                '{"weight_map": {"a": "x-00002-of-00002.safetensors"}}'
            ),
            "x-00002-of-00002.safetensors is absent",
        ),
        (lambda folder: _change(folder / "vae" / "config.json", spatial_expansions=["a"]), "not numbers"),
    ],
)
def test_broken_folders_are_explained(damage: Any, said: str, checkpoints: Path, tmp_path: Path) -> None:
    folder = _own("MOCHI1", checkpoints, tmp_path)
    damage(folder)
    with pytest.raises(models.WeightsMissing, match=said) as caught:
        models.available({"MOCHI1": folder})
    assert str(folder) in str(caught.value)
    if "not numbers" not in said:
        with pytest.raises(models.WeightsMissing, match=r"Point weights\.mochi1 at a folder"):
            models.locate("MOCHI1", folder, tmp_path, setting="weights.mochi1")
