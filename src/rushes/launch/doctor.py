"""`rushes doctor`: tries what Rushes will need on this machine and says what will work and what won't."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rushes.launch.ports import PortTaken, reserve
from rushes.settings import Settings

__all__ = ["Finding", "examine"]

_LOW_DISK_GB: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `warn` works with less, `bad` does not work."""

    what: str
    state: Literal["good", "warn", "bad"]
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Tries everything, cheapest first."""
    yield from _installed()
    yield _folder("data folder", settings.data_dir)
    yield _folder("config folder", settings.config_dir)
    yield _disk(settings.data_dir)
    yield from _ports(settings)
    if importlib.util.find_spec("torch"):
        yield _device(settings)
        yield _encoder()
        yield from _weights(settings)
        yield _veo(settings)


def _installed() -> Iterator[Finding]:
    for extra, module in (
        ("server", "chdb"),
        ("studio", "torch"),
        ("studio", "diffusers"),
        ("studio", "sqlalchemy"),
    ):
        found = importlib.util.find_spec(module) is not None
        text = "installed" if found else f'missing: pip install "rushes[{extra}]"'
        yield Finding(module, "good" if found else "bad", text)


def _folder(what: str, folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"rushes")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return Finding(what, "bad", f"{folder} can't be written ({error.strerror}); name another")
    return Finding(what, "good", str(folder))


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    state: Literal["good", "warn"] = "good" if free >= _LOW_DISK_GB else "warn"
    return Finding("free disk", state, f"{free:.3g} GB")


def _ports(settings: Settings) -> Iterator[Finding]:
    ours = _ports_in_use(settings)
    for name in ("port", "gateway_port", "otlp_http_port", "otlp_grpc_port"):
        port = getattr(settings, name)
        flag = f"--{name.replace('_', '-')}"
        try:
            reserve(settings.host, port, flag)
        except PortTaken as taken:
            if str(port) in ours:
                yield Finding(flag, "good", f"{port}, in use by Rushes itself (pid {ours[str(port)]})")
            else:
                yield Finding(flag, "bad", str(taken))
        else:
            yield Finding(flag, "good", f"{port} is free" if port else "any free one")


def _ports_in_use(settings: Settings) -> dict[str, int]:
    """The ports of a `rushes up` that answers, with its process id; a file left behind by a killed one is nothing."""
    from rushes.launch import local

    try:
        running = local.read(settings.local_file)
        os.kill(running.pid, 0)
    except (local.NotRunning, ProcessLookupError, PermissionError):
        return {}
    urls = (running.ui, running.gateway, running.otlp_http, running.otlp_grpc)
    return {url.rpartition(":")[2]: running.pid for url in urls if url}


def _device(settings: Settings) -> Finding:
    from rushes.studio.device import pick_device

    device = pick_device(settings.device)
    if device == "cpu":
        return Finding(
            "device", "warn", f"cpu, {os.cpu_count()} cores: the small checkpoints run, real weights crawl"
        )
    if not device.startswith("cuda"):
        return Finding("device", "warn", f"{device}: nothing of Rushes was tried on it")
    import torch

    return Finding("device", "good", f"{device}, {torch.cuda.get_device_name(device)}")


def _encoder() -> Finding:
    from rushes.studio.transcode import probe_encoder

    encoder = probe_encoder()
    return Finding("encoder", "good", f"{encoder} (tried on one frame)")


def _weights(settings: Settings) -> Iterator[Finding]:
    from rushes.studio.models import UnknownModel, offered
    from rushes.studio.models.small import shipped

    try:
        cards, missing = offered(settings.weights)
    except UnknownModel as error:
        yield Finding("weights", "bad", str(error))
        return
    for name in cards:
        folder = settings.weights.get(name)
        small = f"small checkpoint, {'trained' if shipped(name) else 'random weights'}"
        yield Finding(name, "good", str(folder) if folder else small)
    for name, reason in missing.items():
        yield Finding(name, "bad", reason)


def _veo(settings: Settings) -> Finding:
    from rushes.studio.models import veo3
    from rushes.studio.provider import Provider, offer_veo

    card, problem = offer_veo(settings.veo)
    if card is None:
        state: Literal["warn", "bad"] = "bad" if settings.veo.configured else "warn"
        return Finding(veo3.NAME, state, f"not available: {problem}")
    way = f"project {settings.veo.project}" if settings.veo.project else "an API key"
    where = "Vertex AI" if settings.veo.on_vertex else "the Gemini Developer API"
    return Finding(
        veo3.NAME, "good", f"{Provider(settings.veo).model} by {where}, with {way} (not tried: it costs)"
    )
