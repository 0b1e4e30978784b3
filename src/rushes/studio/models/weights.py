"""Is this folder a whole checkpoint of that model? Answered from file names, JSON and checksums, without torch.

Folders are in diffusers' format: model_index.json names the pipeline's class and its components. Checkpoints that
Rushes builds also carry a manifest with the SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rushes.studio.models.errors import WeightsMissing

MANIFEST = "manifest.json"
_BEGINNING = 1 << 20
# Where a component's configuration lies; tokenizers have several forms, so the folder is all that is checked.
_CONFIG: dict[str, str | None] = {"scheduler": "scheduler_config.json", "tokenizer": None, "processor": None}


class WeightsFolder:
    """A folder of weights for the model `name`; `setting` is how the user pointed at it."""

    def __init__(self, name: str, folder: Path, pipelines: frozenset[str], setting: str) -> None:
        self.name = name
        self.folder = Path(folder)
        self._pipelines = pipelines
        self._setting = setting

    def missing(self, what: str) -> WeightsMissing:
        """The error for `what` is wrong with this folder, with what to do about it."""
        return WeightsMissing(
            f"no usable weights for {self.name} in {self.folder}: {what}. Point {self._setting} at a folder in "
            f"diffusers' format ({' or '.join(sorted(self._pipelines))}), or leave it unset for the small checkpoint"
        )

    def read(self, path: str) -> dict[str, Any]:
        """A JSON object of the checkpoint. Raises `WeightsMissing`."""
        try:
            content = json.loads((self.folder / path).read_text(encoding="utf-8"))
        except OSError as error:
            raise self.missing(f"cannot read {path} ({error.strerror or error})") from error
        except ValueError as error:
            raise self.missing(f"{path} is not JSON") from error
        if not isinstance(content, dict):
            raise self.missing(f"{path} is not a JSON object")
        return content

    def components(self) -> frozenset[str]:
        """The components that model_index.json names, its class checked. Raises `WeightsMissing`."""
        if not self.folder.is_dir():
            raise self.missing("there is no such folder")
        index = self.read("model_index.json")
        pipeline = index.get("_class_name")
        if pipeline not in self._pipelines:
            raise self.missing(f"model_index.json names a {pipeline}")
        return frozenset(
            key
            for key, value in index.items()
            if not key.startswith("_") and isinstance(value, list) and value and value[0] is not None
        )

    def identity(self) -> str:
        """Tells these weights from others: the manifest's digest, else the files' names, sizes and beginnings.

        A beginning is a safetensors file's list of tensors and its first weights: gigabytes take too long to read.
        """
        manifest = sha256(self.folder / MANIFEST)
        if manifest is not None:
            return manifest
        digest = hashlib.sha256()
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                beginning = file.read(_BEGINNING)
            digest.update(repr((str(path.relative_to(self.folder)), path.stat().st_size, beginning)).encode())
        return digest.hexdigest()

    def check(self) -> None:
        """Raises `WeightsMissing` unless every component is there and, with a manifest, is unchanged."""
        for component in sorted(self.components()):
            self._check_component(component)
        manifest = self.manifest()
        if manifest is not None:
            self._check_files(manifest)

    def _check_component(self, component: str) -> None:
        folder = self.folder / component
        config = _CONFIG.get(component, "config.json")
        if not folder.is_dir():
            raise self.missing(f"the folder {component} is absent")
        if config is not None:
            self.read(f"{component}/{config}")
        if component in {"scheduler", "tokenizer", "processor"}:
            return
        if not any(folder.glob("*.safetensors")):
            raise self.missing(f"{component} has no *.safetensors file")
        for index in folder.glob("*.safetensors.index.json"):
            shards = self.read(f"{component}/{index.name}").get("weight_map", {})
            for shard in sorted(set(shards.values())):
                if not (folder / Path(str(shard)).name).is_file():
                    raise self.missing(f"{component}/{shard} is absent")

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a checkpoint that Rushes built, None where there is none. Raises `WeightsMissing`."""
        if not (self.folder / MANIFEST).exists():
            return None
        manifest = self.read(MANIFEST)
        return manifest if "checkpoint" in manifest else None  # else someone else's file

    def _check_files(self, manifest: dict[str, Any]) -> None:
        files = manifest.get("files")
        if not isinstance(files, dict) or not files:
            raise self.missing(f"{MANIFEST} lists no files")
        for path, digest in sorted(files.items()):
            if sha256(self.folder / path) != digest:
                raise self.missing(f"{path} is absent or differs from {MANIFEST}")


def sha256(path: Path) -> str | None:
    """The file's SHA-256 in hexadecimal, None where it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
