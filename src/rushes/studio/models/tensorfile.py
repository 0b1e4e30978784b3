"""Tensors on disk, written whole or not at all, because two processes share a video and either may be killed.

The format is safetensors (nothing in it can run code). A checksum over names, shapes, types, bytes and
metadata goes into its header, so that a damaged file is an error and never a strange video.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushes.studio.models.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHECKSUM = "sha256"


def digest_of(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    """SHA-256, in hexadecimal, of tensors on the CPU and what is said of them."""
    import torch

    digest = hashlib.sha256(json.dumps(dict(sorted(metadata.items()))).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        # Bytes, not numbers: numpy has no bfloat16.
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write `tensors` and `metadata` to `path`: flushed, renamed into place, readable by the owner only."""
    from safetensors.torch import save

    host = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    data: bytes = save(host, {**metadata, _CHECKSUM: digest_of(host, metadata)})
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read what `write_tensors` wrote: tensors (on the CPU) and metadata.

    Raises:
        CheckpointError: the file is absent, unreadable, or not byte for byte what was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        tensors: dict[str, Any] = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata: dict[str, str] = dict(header["__metadata__"])
        expected = metadata.pop(_CHECKSUM)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged or was not written by the studio; encode again") from error
    if digest_of(tensors, metadata) != expected:
        raise CheckpointError(f"{path} is damaged: its checksum does not match; encode again")
    return tensors, metadata
