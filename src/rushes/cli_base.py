"""What the commands of `rushes` share: their common flags, their settings, and how they say what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Never, Optional

import typer

if TYPE_CHECKING:
    from rushes.settings import Settings

__all__ = ["DataDir", "die", "need", "settings_of", "storage_errors"]

DataDir = Annotated[Optional[Path], typer.Option(help="Folder for all data.", show_default="per user")]


def die(message: object, code: int = 1) -> Never:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
    raise typer.Exit(code)


def need(extra: str, error: ModuleNotFoundError) -> Never:
    die(f'this command needs {error.name}, which is not installed: pip install "rushes[{extra}]"')


def settings_of(**flags: Any) -> Settings:
    try:
        from rushes.settings import SettingsError, load
    except ModuleNotFoundError as error:
        need("server", error)
    try:
        return load(**flags)
    except SettingsError as error:
        die(error, 2)


@contextmanager
def storage_errors() -> Iterator[None]:
    """A folder or file that can't be used is said in a line, not in a traceback."""
    try:
        yield
    except OSError as error:
        die(f"{error.filename or 'a file'} can't be used ({error.strerror or error}); see `rushes doctor`")
