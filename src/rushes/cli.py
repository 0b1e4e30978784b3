"""The command `rushes`. Each command imports what it needs, so that `rushes --help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Optional

import typer

from rushes.cli_base import DataDir, die, need, settings_of, storage_errors
from rushes.cli_keys import keys

__all__ = ["app", "main"]

app = typer.Typer(
    name="rushes",
    help="Observability for services that turn prompts into video.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals of a traceback may hold prompts and keys
    add_completion=True,
)

Port = Annotated[Optional[int], typer.Option(help="Control room: UI and API.", show_default="8400")]
GatewayPort = Annotated[Optional[int], typer.Option(help="Studio gateway.", show_default="8401")]
HttpPort = Annotated[Optional[int], typer.Option(help="OTLP over HTTP.", show_default="4318")]
Retention = Annotated[
    Optional[str], typer.Option(help="How long telemetry is kept: 7d, 36h.", show_default="7d")
]
MaxSize = Annotated[
    Optional[str], typer.Option(help="Disk space for telemetry; 0 for no limit.", show_default="10GiB")
]
StoreUrl = Annotated[
    Optional[str],
    typer.Option(
        "--store",
        help="clickhouse://user@host:port/database?cluster=NAME, its password in RUSHES_STORE_PASSWORD.",
        show_default="the data folder",
    ),
]
PasswordFile = Annotated[Optional[Path], typer.Option(help="A file with the store's password.")]
GrpcPort = Annotated[Optional[int], typer.Option(help="OTLP over gRPC.", show_default="4317")]


app.add_typer(keys)


@app.command()
def up(
    data_dir: DataDir = None,
    port: Port = None,
    gateway_port: GatewayPort = None,
    otlp_http_port: HttpPort = None,
    otlp_grpc_port: GrpcPort = None,
    workers: Annotated[Optional[int], typer.Option(help="Generate workers.", show_default="1")] = None,
    retention: Retention = None,
    max_size: MaxSize = None,
    store: StoreUrl = None,
    store_password_file: PasswordFile = None,
    no_studio: Annotated[bool, typer.Option("--no-studio", help="The control room alone.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every process's log lines.")] = False,
) -> None:
    """Run the control room and the studio on this machine. Port 0 picks a free one."""
    settings = settings_of(
        data_dir=data_dir,
        port=port,
        gateway_port=gateway_port,
        otlp_http_port=otlp_http_port,
        otlp_grpc_port=otlp_grpc_port,
        workers=workers,
        retention=retention,
        max_size=max_size,
        store=store,
        store_password_file=store_password_file,
        studio=False if no_studio else None,
    )
    try:
        from rushes.launch.ports import PortTaken
        from rushes.launch.supervisor import AlreadyRunning, CannotRun, Supervisor
    except ModuleNotFoundError as error:
        need("studio", error)
    try:
        supervisor = Supervisor(settings, say=typer.echo, on_line=typer.echo if verbose else None)
    except (PortTaken, AlreadyRunning) as error:
        die(error)
    except OSError as error:
        die(f"{error.filename} can't be used ({error.strerror}); name another folder with --data-dir")
    try:
        with storage_errors():
            code = supervisor.run()
    except CannotRun as error:
        die(error)
    raise typer.Exit(code)


@app.command()
def server(
    data_dir: DataDir = None,
    port: Port = None,
    otlp_http_port: HttpPort = None,
    otlp_grpc_port: GrpcPort = None,
    retention: Retention = None,
    max_size: MaxSize = None,
    store: StoreUrl = None,
    store_password_file: PasswordFile = None,
) -> None:
    """Run the control room alone: OTLP in, queries and pages out."""
    settings = settings_of(
        data_dir=data_dir,
        port=port,
        otlp_http_port=otlp_http_port,
        otlp_grpc_port=otlp_grpc_port,
        retention=retention,
        max_size=max_size,
        store=store,
        store_password_file=store_password_file,
    )
    from rushes.launch.lean import allocate_sparingly, without

    allocate_sparingly()
    # pyarrow and httpx import them wherever they are installed: half a second and 40 MB
    without("pandas", "httpx._main")
    try:
        from rushes.launch.control_room import CannotStart, run
    except ModuleNotFoundError as error:
        need("server", error)
    try:
        with storage_errors():
            run(settings)
    except CannotStart as error:
        die(error)


@app.command()
def backup(
    to: Annotated[str, typer.Option(help="A new folder, or s3://, gs://, az://.")],
    data_dir: DataDir = None,
    store: StoreUrl = None,
    store_password_file: PasswordFile = None,
) -> None:
    """Write all telemetry to a folder or an object store, while the control room runs or when it doesn't."""
    settings = settings_of(data_dir=data_dir, store=store, store_password_file=store_password_file)
    with _backup_errors():
        from rich.console import Console

        from rushes.launch.backup import backup as run

        manifest = run(settings, to, Console(stderr=True))
    typer.echo(f"{manifest.rows} rows in {len(manifest.files)} files")


@app.command()
def restore(
    source: Annotated[str, typer.Option("--from", help="Where a backup is.")],
    data_dir: DataDir = None,
    store: StoreUrl = None,
    store_password_file: PasswordFile = None,
    retention: Retention = None,
) -> None:
    """Read a backup into a data folder without telemetry, or into an empty database."""
    settings = settings_of(
        data_dir=data_dir, store=store, store_password_file=store_password_file, retention=retention
    )
    with _backup_errors():
        from rich.console import Console

        from rushes.launch.backup import restore as run

        manifest = run(settings, source, Console(stderr=True))
    typer.echo(f"{manifest.rows} rows of {manifest.created_at}")


@contextmanager
def _backup_errors() -> Iterator[None]:
    """What can't be backed up or restored is said in a line."""
    try:
        from rushes.store.backup_place import BackupError
        from rushes.store.interface import StoreError
    except ModuleNotFoundError as error:
        need("server", error)
    try:
        with storage_errors():
            yield
    except (BackupError, StoreError, ValueError) as error:
        die(error)


@app.command()
def gateway(data_dir: DataDir = None, gateway_port: GatewayPort = None) -> None:
    """Run the studio's gateway: OpenAI's Videos API."""
    settings = settings_of(data_dir=data_dir, gateway_port=gateway_port)
    try:
        from rushes.launch.gateway import run
        from rushes.launch.ports import PortTaken
        from rushes.studio.jobs import DatabaseUnreachableError
    except ModuleNotFoundError as error:
        need("studio", error)
    try:
        with storage_errors():
            run(settings)
    except (PortTaken, DatabaseUnreachableError) as error:
        die(error)


@app.command()
def worker(
    role: Annotated[str, typer.Option(help="encode, generate or all.")] = "all",
    id: Annotated[str | None, typer.Option(help="Unique among workers.", show_default="<role>-<pid>")] = None,
    realtime: Annotated[bool, typer.Option("--realtime", help="Take realtime jobs only.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Run one worker of the studio."""
    if role not in {"encode", "generate", "all"}:
        die(f"role {role!r} is not one of encode, generate, all", 2)
    settings = settings_of(data_dir=data_dir)
    try:
        from rushes.launch.worker import run
        from rushes.studio.jobs import WorkerBusyError
    except ModuleNotFoundError as error:
        need("studio", error)
    try:
        with storage_errors():
            run(settings, role, id, realtime=realtime)
    except (WorkerBusyError, ValueError) as error:
        die(error)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the video shows; - reads it from standard input.")],
    model: Annotated[str, typer.Option(help="MOCHI1, LTX2, OPENSORA or VEO3.")] = "MOCHI1",
    tier: Annotated[Optional[str], typer.Option(help="realtime, premium, standard or free.")] = None,
    seconds: Annotated[Optional[float], typer.Option(help="Length of the clip.")] = None,
    size: Annotated[Optional[str], typer.Option(help="Width x height, as 64x64.")] = None,
    steps: Annotated[Optional[int], typer.Option(help="Denoising steps.")] = None,
    seed: Annotated[Optional[int], typer.Option(help="The same seed gives the same video.")] = None,
    negative_prompt: Annotated[Optional[str], typer.Option(help="What it should not show.")] = None,
    out_dir: Annotated[Path, typer.Option(help="Where the video is saved.")] = Path(),
    gateway: Annotated[Optional[str], typer.Option(help="Another gateway's URL, with --api-key.")] = None,
    api_key: Annotated[Optional[str], typer.Option(envvar="RUSHES_API_KEY", help="Its key.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a video with a running `rushes up`, and print its path and its trace's address."""
    settings = settings_of(data_dir=data_dir)
    try:
        from rich.console import Console

        from rushes.launch import local
        from rushes.launch.generate import GenerationFailed
        from rushes.launch.generate import generate as run
    except ModuleNotFoundError as error:
        need("studio", error)
    if prompt == "-":
        prompt = sys.stdin.read().strip()
    try:
        if gateway is not None:
            where = local.Local(
                ui="", gateway=gateway, otlp_http="", otlp_grpc="", metrics=[], pid=0, api_key=api_key
            )
        else:
            where = local.read(settings.local_file)
        path, trace = run(
            where,
            out_dir,
            Console(stderr=True),
            prompt=prompt,
            model=model,
            tier=tier,
            seconds=None if seconds is None else f"{seconds:g}",
            size=size,
            steps=steps,
            seed=seed,
            negative_prompt=negative_prompt,
        )
    except (local.NotRunning, GenerationFailed) as error:
        die(error)
    typer.echo(path)
    typer.echo(trace)


@app.command()
def catalog(
    signal: Annotated[str, typer.Argument(help="metrics, spans or logs.")] = "metrics",
    json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List every declared metric, span or log event."""
    from rushes.catalog.listing import as_json, as_text

    try:
        typer.echo(as_json(signal) if json else as_text(signal))
    except KeyError:
        die(f"there is no list of {signal!r}; there are metrics, spans and logs", 2)


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Try what Rushes needs on this machine. Exits with 1 if something will not work."""
    settings = settings_of(data_dir=data_dir)
    from rushes.launch.doctor import examine

    colours = {"good": typer.colors.GREEN, "warn": typer.colors.YELLOW, "bad": typer.colors.RED}
    bad = False
    for finding in examine(settings):
        bad |= finding.state == "bad"
        typer.echo(
            typer.style(f"{finding.state:5}", fg=colours[finding.state]) + f"{finding.what:18} {finding.text}"
        )
    raise typer.Exit(1 if bad else 0)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"rushes {version('rushes')}")
        raise typer.Exit


@app.callback()
def _options(
    _asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The console script."""
    app(prog_name=Path(sys.argv[0]).name if sys.argv[0].endswith("rushes") else "rushes")
