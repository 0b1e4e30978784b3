"""Writes a trained pipeline as a folder in diffusers' format: half precision, a manifest with hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

MANIFEST = "manifest.json"
LIMIT = 12_000_000  # bytes a model


def package(pipe: Any, name: str, version: int, facts: dict[str, Any], folder: Path) -> None:
    """Save `pipe`, whole or not at all; `facts` go into the manifest.

    Raises:
        ValueError: the folder would be larger than the package may be.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            component.to(torch.float16)
    pipe.save_pretrained(str(partial))
    for config in partial.rglob("*.json"):  # paths of the machine that trained it have no place here
        content = json.loads(config.read_text(encoding="utf-8"))
        if content.pop("_name_or_path", None) is not None:
            config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors makes them for their owner only
    files = {
        file.relative_to(partial).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(partial.rglob("*"))
        if file.is_file()
    }
    manifest = {"checkpoint": f"trained {name}", "version": version, **facts, "files": files}
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
    if size > LIMIT:
        raise ValueError(f"{name} takes {size} bytes, {LIMIT} is the most")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    print(f"{folder}: {size / 1e6:.1f} MB")
