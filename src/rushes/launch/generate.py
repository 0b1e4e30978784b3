"""`rushes generate`: submits a prompt, shows each step, saves the video and says where its trace is."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rushes.launch import local

__all__ = ["GenerationFailed", "generate"]

_DONE: Final = {"completed", "failed", "cancelled"}


class GenerationFailed(Exception):  # noqa: N818 - says what happened
    """The gateway refused the video or it failed; the text is the API's."""


def generate(where: local.Local, out_dir: Path, console: Console, **request: Any) -> tuple[Path, str]:
    """Makes one video and returns the file's path and its trace's URL.

    Raises:
        GenerationFailed: refused, failed, cancelled, or the gateway can't be reached.
    """
    if where.gateway is None:
        raise GenerationFailed(
            "this control room runs without a studio; start `rushes up` without --no-studio"
        )
    if not where.api_key:
        raise GenerationFailed(f"{where.gateway} wants a key: give --api-key, or RUSHES_API_KEY")
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenerationFailed(
            f"{out_dir} can't be made ({error.strerror}); name another --out-dir"
        ) from None
    if not os.access(out_dir, os.W_OK):
        raise GenerationFailed(f"{out_dir} can't be written; name another --out-dir")
    body = {name: value for name, value in request.items() if value is not None}
    headers = {"Authorization": f"Bearer {where.api_key}"}
    try:
        with httpx.Client(base_url=where.gateway, headers=headers, timeout=30) as client:
            reply = client.post("/v1/videos", json=body)
            _raise_for(reply)
            video_id = reply.json()["id"]
            trace_id = reply.headers["x-trace-id"]
            trace = f"{where.ui}/traces/{trace_id}" if where.ui else trace_id
            try:
                _watch(client, video_id, console)
            except KeyboardInterrupt:
                client.delete(f"/v1/videos/{video_id}")
                raise GenerationFailed(f"cancelled; its trace: {trace}") from None
            return _save(client, video_id, out_dir, trace), trace
    except httpx.HTTPError as error:
        raise GenerationFailed(
            f"the gateway at {where.gateway} does not answer ({error}); is `rushes up` running?"
        ) from error


def _raise_for(reply: httpx.Response) -> None:
    if reply.is_success:
        return
    reply.read()
    try:
        message = reply.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {reply.status_code}"
    raise GenerationFailed(message)


def _events(client: httpx.Client, video_id: str) -> Iterator[dict[str, Any]]:
    with client.stream("GET", f"/v1/videos/{video_id}/events", timeout=None) as stream:
        _raise_for(stream)
        for line in stream.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


def _watch(client: httpx.Client, video_id: str, console: Console) -> None:
    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("queued", total=None)
        for event in _events(client, video_id):
            progress.update(
                task,
                description=event["state"],
                completed=event["step"],
                total=event["total_steps"] or None,
            )
            if event["state"] in _DONE:
                return


def _save(client: httpx.Client, video_id: str, out_dir: Path, trace: str) -> Path:
    reply = client.get(f"/v1/videos/{video_id}")
    _raise_for(reply)
    video = reply.json()
    if video["status"] != "completed":
        error = video.get("error") or {}
        raise GenerationFailed(f"{error.get('message', video['status'])}\nits trace: {trace}")
    path = out_dir / f"{video_id}.mp4"
    part = out_dir / f".{video_id}.{secrets.token_hex(4)}.part"
    try:
        with client.stream("GET", f"/v1/videos/{video_id}/content") as stream, part.open("wb") as file:
            _raise_for(stream)
            for piece in stream.iter_bytes():
                file.write(piece)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
