"""What passes between processes comes back bit-identical or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rushes.studio.models import CheckpointError, Encoded, Latents


def _encoded() -> Encoded:
    generator = torch.Generator().manual_seed(3)
    tensors = {
        "prompt_embeds": torch.randn(1, 7, 5, generator=generator).to(torch.bfloat16),
        "mask": torch.tensor([[True, False, True]]),
        "view": torch.arange(12).reshape(3, 4).T,  # not contiguous
    }
    return Encoded("LTX2", tensors, 300, 256)


def test_round_trip(tmp_path: Path) -> None:
    file, encoded = tmp_path / "job.safetensors", _encoded()
    encoded.save(file)
    back = Encoded.load(file)
    assert (back.model, back.tokens, back.token_limit, back.truncated) == ("LTX2", 300, 256, True)
    assert back.tensors.keys() == encoded.tensors.keys()
    for name, tensor in encoded.tensors.items():
        assert back.tensors[name].dtype == tensor.dtype
        assert torch.equal(back.tensors[name], tensor)
    assert list(tmp_path.iterdir()) == [file]
    assert file.stat().st_mode & 0o077 == 0  # an embedding tells what the prompt was


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "job.safetensors"
    _encoded().save(file)
    whole = file.read_bytes()
    for position in (0, 9, 40, 150, len(whole) - 1):
        data = bytearray(whole)
        data[position] ^= 2
        file.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"job\.safetensors"):
            Encoded.load(file)
    for length in (0, 4, 8, 100, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"job\.safetensors"):
            Encoded.load(file)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        Encoded.load(tmp_path / "none")
    Latents("MOCHI1", {"latents": torch.zeros(1)}).save(tmp_path / "latents")
    with pytest.raises(CheckpointError, match="holds latents version 1, not encoded"):
        Encoded.load(tmp_path / "latents")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "job.safetensors"
    _encoded().save(file)
    whole = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        Encoded("LTX2", {"a": torch.zeros(2)}).save(file)
    assert file.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [file]
