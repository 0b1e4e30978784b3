"""`rushes keys`: who may submit videos, how many, and where they are told of them. It works on the jobs' database,
whether the platform runs or not.
"""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer

from rushes.cli_base import DataDir, die, need, settings_of, storage_errors

if TYPE_CHECKING:
    import sqlalchemy as sa

    from rushes.settings import Settings
    from rushes.studio.keys import ApiKey, KeyStore

__all__ = ["keys"]

keys = typer.Typer(
    name="keys", help="The studio's API keys.", no_args_is_help=True, pretty_exceptions_show_locals=False
)

_LONGEST_NAME: Final = 200
_LISTED: Final = ("id", "name", "tier", "state", "rate", "quota", "used_today", "credits")
_FACTS: Final = (*_LISTED, "ends_with", "created")

Key = Annotated[str, typer.Argument(help="The key's id, or its name.")]
Json = Annotated[bool, typer.Option("--json", help="For scripts.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is called, to tell it from others.")],
    tier: Annotated[str, typer.Option(help="The highest of realtime, premium, standard, free.")] = "standard",
    rate: Annotated[int, typer.Option(help="Submissions a minute.")] = 60,
    quota: Annotated[int, typer.Option(help="Videos a day (UTC).")] = 1000,
    credits: Annotated[int, typer.Option(help="Credits to begin with.")] = 0,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print its secret, which is shown this once."""
    if not 1 <= len(name.strip()) <= _LONGEST_NAME:
        die(f"a key's name has 1 to {_LONGEST_NAME} characters, got {len(name.strip())}", 2)
    with _keys(data_dir) as (store, _, _):
        key, secret = store.create(
            name.strip(), tier=tier, rate_limit_per_minute=rate, quota_per_day=quota, credits=credits
        )
        _print_secret(store, key, secret, "secret", json)


@keys.command("list")
def list_keys(json: Json = False, data_dir: DataDir = None) -> None:
    """List all keys."""
    with _keys(data_dir) as (store, _, _):
        found = [_facts(store, key) for key in store.list_all()]
    if json:
        typer.echo(json_format.dumps(found))
    else:
        _print_table([[str(facts[name]) for name in _LISTED] for facts in found], _LISTED)


@keys.command()
def audit(json: Json = False, data_dir: DataDir = None) -> None:
    """Check that the credits add up: balances, ledger and videos. Exits with 1 if they don't."""
    with _keys(data_dir) as (_, engine, _):
        from rushes.studio.keys import audit as look

        found = look(engine)
    if json:
        typer.echo(json_format.dumps([asdict(discrepancy) for discrepancy in found]))
    elif found:
        _print_table([[d.kind, d.subject, d.text] for d in found], ("what", "of", "wrong"))
    else:
        _tell("every balance, reservation, charge and refund adds up")
    raise typer.Exit(int(bool(found)))


@keys.command()
def show(key: Key, json: Json = False, data_dir: DataDir = None) -> None:
    """Show one key."""
    with _keys(data_dir) as (store, engine, settings):
        found = store.named(key)
        facts = _facts(store, found) | {"webhook": _webhook_url(engine, settings, found)}
    if json:
        typer.echo(json_format.dumps(facts))
    else:
        _print_table([[name, "-" if value is None else str(value)] for name, value in facts.items()])


@keys.command()
def revoke(key: Key, data_dir: DataDir = None) -> None:
    """Make a key useless, at once and for good. Its videos stay, and what is queued is rendered."""
    with _keys(data_dir) as (store, _, _):
        found = store.named(key)
        if not store.revoke(found.id):
            die(f"{found.id} ({found.name}) was revoked before")
    _tell(f"{found.id} ({found.name}) is revoked")


@keys.command()
def rotate(
    key: Key,
    grace: Annotated[
        Optional[str],
        typer.Option(help="How long the old secret still works: 1h, 2d.", show_default="at once"),
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Give a key a new secret and print it, this once."""
    with _keys(data_dir) as (store, _, _):
        from rushes.settings import duration_s

        try:
            grace_s = 0 if grace is None else duration_s(grace)
        except ValueError as error:
            die(f"--grace {error}, got {grace!r}", 2)
        found = store.named(key)
        secret = store.rotate(found.id, grace_s=grace_s)
        _tell(
            "the old secret works no more" if grace is None else f"the old secret works for another {grace}"
        )
        _print_secret(store, store.named(found.id), secret, "secret", json)


@keys.command("grant")
def grant_credits(
    key: Key,
    credits: Annotated[int, typer.Argument(help="How many more it gets.", min=1)],
    data_dir: DataDir = None,
) -> None:
    """Add credits to a key."""
    with _keys(data_dir) as (store, _, _):
        found = store.named(key)
        store.grant(found.id, credits)
        _tell(f"{found.id} ({found.name}) has {store.named(found.id).credits} credits")


@keys.command()
def webhook(
    key: Key,
    url: Annotated[Optional[str], typer.Option(help="Where its videos' ends are posted.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Post nothing any more.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Give a key a webhook, or another, and print its signing secret, this once; without options, show it."""
    if remove and url is not None:
        die("--url and --remove exclude each other", 2)
    with _keys(data_dir) as (store, engine, settings):
        from rushes.studio.secret_files import prompt_key
        from rushes.studio.webhooks import Endpoints, check_url

        found = store.named(key)
        endpoints = Endpoints(engine, prompt_key=prompt_key(settings))
        if remove:
            if not endpoints.remove(found.id):
                die(f"{found.id} ({found.name}) has no webhook")
            _tell(f"{found.id} ({found.name}) has no webhook any more")
        elif url is None:
            typer.echo(_webhook_url(engine, settings, found) or "none")
        elif not found.active:
            die(f"{found.id} ({found.name}) was revoked")
        else:
            check_url(url, private=settings.webhooks_private)
            _print_secret(store, found, endpoints.set(found.id, url).secret, "signing secret", json)


@contextmanager
def _keys(data_dir: Any) -> Iterator[tuple[KeyStore, sa.Engine, Settings]]:
    """The keys, their database and the settings; what is wrong with any of them is said in a line."""
    settings = settings_of(data_dir=data_dir)
    try:
        from sqlalchemy.exc import SQLAlchemyError

        from rushes.studio.jobs import open_database
        from rushes.studio.keys import KeyStore, UnknownKeyError
    except ModuleNotFoundError as error:
        need("studio", error)
    try:
        with storage_errors():
            engine = open_database(settings.jobs_url)
        try:
            yield KeyStore(engine), engine, settings
        finally:
            engine.dispose()
    except (UnknownKeyError, ValueError) as error:
        die(error)
    except SQLAlchemyError as error:
        # Its text has the statement, and the statement's values are hashes and names at most.
        die(f"the jobs' database can't be used: {str(getattr(error, 'orig', None) or error).splitlines()[0]}")


def _facts(store: KeyStore, key: ApiKey) -> dict[str, Any]:
    left = store.videos_left(key)
    values = (
        key.id,
        key.name,
        key.tier,
        "active" if key.active else "revoked",
        key.rate_limit_per_minute,
        key.quota_per_day,
        left.limit - left.remaining,
        key.credits,
        key.last_four,
        datetime.fromtimestamp(key.created_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return dict(zip(_FACTS, values, strict=True))


def _webhook_url(engine: sa.Engine, settings: Settings, key: ApiKey) -> str | None:
    from cryptography.fernet import InvalidToken

    from rushes.studio.secret_files import prompt_key
    from rushes.studio.webhooks import Endpoints

    try:
        endpoint = Endpoints(engine, prompt_key=prompt_key(settings)).get(key.id)
    except InvalidToken:
        return "unreadable: it was encrypted with another prompt key"
    return None if endpoint is None else endpoint.url


def _print_secret(store: KeyStore, key: ApiKey, secret: str, what: str, json: bool) -> None:
    if json:
        typer.echo(json_format.dumps(_facts(store, key) | {what.replace(" ", "_"): secret}))
        return
    _tell(f"the {what} of {key.id} ({key.name}), shown this once:")
    typer.echo(secret)


def _tell(text: str) -> None:
    """Beside the result, which stands alone on standard output."""
    typer.echo(text, err=True)


def _print_table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> None:
    """A table on a terminal, else a line a row with tabs between."""
    if not sys.stdout.isatty():
        for row in (head, *rows) if head else rows:
            typer.echo("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=bool(head), padding=(0, 1, 0, 0))
    for place, title in enumerate(head):
        table.add_column(title, no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # a name is no markup
    Console().print(table)
