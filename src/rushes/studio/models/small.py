"""The small checkpoints: real architectures, a few megabytes, that let the whole platform run anywhere in seconds.

Those that were trained come with the package (`shipped`). For the others, and for tests that only need every kind of
layer, there are random weights that are the same on every build. A folder is built under another name and renamed when
whole; a lock keeps two processes from building at once; a manifest with checksums tells whole from broken.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rushes.studio.models.cards import checkpoint
from rushes.studio.models.errors import WeightsMissing
from rushes.studio.models.weights import MANIFEST, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1  # raise it with every change to what is built: old folders stay, new ones are made beside them


_SHIPPED = Path(__file__).with_name("checkpoints")


def shipped(name: str) -> Path | None:
    """The trained small checkpoint of `name` that came with the package, None where there is none."""
    folder = _SHIPPED / name.lower()
    return folder if (folder / MANIFEST).is_file() else None


def find(name: str) -> Path | None:
    """As `shipped`, its files checked against the hashes that they were recorded with. Raises `WeightsMissing`."""
    folder = shipped(name)
    if folder is not None:
        try:
            checkpoint(name, folder).check()
        except WeightsMissing as error:
            raise WeightsMissing(
                f"the checkpoint of {name} that came with rushes is damaged: install rushes again, or point "
                "the weights setting at a folder of your own"
            ) from error
    return folder


def path(name: str, folder: Path) -> Path:
    """Where the small checkpoint of `name` lies under `folder`."""
    return Path(folder) / f"{name.lower()}-small-v{VERSION}"


def build(name: str, folder: Path) -> Path:
    """The small checkpoint of `name` under `folder`, built unless it is there and whole.

    Raises:
        UnknownModel: there is no such model.
        OSError: the folder can't be written.
    """
    target = path(name, folder)
    small = checkpoint(name, target)
    if _whole(name, target):  # also where the folder is read-only
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_name(f".{target.name}.lock")):
        if _whole(name, target):  # built by another process in the meantime
            return target
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        from rushes.studio.models.small_nets import save

        save(name, partial)
        files = {
            str(file.relative_to(partial)): sha256(file)
            for file in sorted(partial.rglob("*"))
            if file.is_file()
        }
        manifest = {"checkpoint": f"small {name}", "version": VERSION, "files": files}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if target.exists():  # broken: a rename can't replace a folder
            shutil.rmtree(target)
        partial.rename(target)
        small.check()
    return target


def _whole(name: str, target: Path) -> bool:
    small = checkpoint(name, target)
    try:
        small.check()
        manifest = small.manifest()
    except WeightsMissing:
        return False
    return manifest is not None and manifest.get("version") == VERSION


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Held by one process at a time; the system lets go of it if that process dies."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
