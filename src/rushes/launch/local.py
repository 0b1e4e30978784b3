"""`<data-dir>/local.json`: what a running `rushes up` tells scripts about itself, readable by its user only."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Local", "NotRunning", "read", "remove", "write"]


class NotRunning(Exception):  # noqa: N818 - says what is the case
    """There is no local.json, or it can't be read."""


@dataclass(frozen=True, slots=True)
class Local:
    """The addresses. Those of the studio are None where there is none (`--no-studio`)."""

    ui: str
    gateway: str | None
    otlp_http: str
    otlp_grpc: str
    metrics: list[str]
    pid: int
    # Out of repr: it is a secret, if only a development one.
    api_key: str | None = field(repr=False)


def write(path: Path, local: Local) -> None:
    """Replaces the file at once, with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(local), file, indent=2)
        file.write("\n")
    part.replace(path)


def read(path: Path) -> Local:
    """Raises NotRunning with what to do."""
    try:
        return Local(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise NotRunning(
            f"{path} does not exist: start Rushes with `rushes up`, or name its --data-dir"
        ) from None
    except (ValueError, TypeError) as error:
        raise NotRunning(f"{path} can't be read ({error}); start `rushes up` again") from None


def remove(path: Path) -> None:
    """Removes the file; nothing happens if it is gone."""
    path.unlink(missing_ok=True)
