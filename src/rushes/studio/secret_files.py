"""Keys that Rushes makes for itself, each in a file that only its user can read.

The key that encrypts prompts lies in the configuration folder, apart from the database that holds them.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from rushes.settings import Settings, SettingsError

__all__ = ["development_secret", "hash_key", "prompt_key"]


def prompt_key(settings: Settings) -> bytes:
    """32 url-safe base64 bytes, made on first use. Raises SettingsError if the file holds something else."""
    path = settings.config_dir / "prompt.key"
    key = _read_or_make(path, base64.urlsafe_b64encode(secrets.token_bytes(32)))
    try:
        whole = len(base64.urlsafe_b64decode(key)) == 32  # noqa: PLR2004 - Fernet's key size
    except ValueError:
        whole = False
    if not whole:
        raise SettingsError(
            f"{path} does not hold a prompt key (32 bytes in base64); restore it or remove it"
        )
    return key


def hash_key(settings: Settings) -> bytes:
    """The key of the keyed hashes that stand for prompts in logs."""
    return _read_or_make(settings.config_dir / "hash.key", secrets.token_hex(32).encode())


def development_secret(settings: Settings) -> str:
    """The API key that `rushes up` publishes in local.json."""
    return _read_or_make(
        settings.config_dir / "development.key", f"rk_{secrets.token_urlsafe(24)}".encode()
    ).decode()


def _read_or_make(path: Path, fresh: bytes) -> bytes:
    """The file's content; if there is no file, `fresh`, written whole before anybody else can see it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, fresh)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(part, path)  # fails when another process, or an earlier run, was first
    except FileExistsError:
        pass
    finally:
        part.unlink()
    return path.read_bytes().strip()
