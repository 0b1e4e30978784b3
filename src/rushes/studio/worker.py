"""A worker process: takes jobs off the queue of its role, one at a time, and makes videos of them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Final, Literal

from rushes.catalog import MODELS
from rushes.sdk import configure, instruments, logs, serve_metrics, shutdown
from rushes.settings import Settings
from rushes.studio import outcome, pipeline
from rushes.studio.board import Board, State, WorkerInfo
from rushes.studio.device import pick_device
from rushes.studio.jobs import Job, JobStore, open_database, run_worker
from rushes.studio.models import WeightsMissing, available
from rushes.studio.render import Tools
from rushes.studio.safety import Blocklist
from rushes.studio.secret_files import hash_key, prompt_key
from rushes.studio.shelf import Shelf
from rushes.studio.storage import Media

__all__ = ["Role", "work"]

Role = Literal["encode", "generate", "all"]

_LOG: Final = logs.get_logger("worker")


class _Presence:
    """The worker's state on the board, and in the log."""

    def __init__(self, board: Board, worker_id: str, role: Role, metrics: str) -> None:
        self._board = board
        self._worker_id = worker_id
        self._role = role
        self._metrics = metrics
        self._executor_id = ""

    def ready(self, executor_id: str) -> None:
        self._executor_id = executor_id
        self.show("idle")
        _LOG.info("worker.started", worker_role=self._role, pid=os.getpid())

    def show(self, state: State) -> None:
        self._board.publish(
            WorkerInfo(self._worker_id, self._role, self._executor_id, os.getpid(), state, self._metrics)
        )

    def during(self, work: Callable[[str], bool | None]) -> Callable[[str], bool | None]:
        """The handler, with the worker shown as generating while it runs."""

        def handle(job_id: str) -> bool | None:
            self.show("generating")
            try:
                return work(job_id)
            finally:
                self.show("idle")

        return handle


def work(
    settings: Settings, role: Role, worker_id: str, stop: threading.Event, *, preload: bool = True
) -> None:
    """Works until `stop` is set, then finishes the job in hand.

    Raises:
        WorkerBusyError: a living worker has this id.
    """
    configure(instance=worker_id, endpoint=settings.otlp_endpoint, log_level=settings.log_level)
    logs.bridge_stdlib(logging.WARNING)
    board = Board(settings.workers_dir)
    presence = _Presence(board, worker_id, role, serve_metrics())
    presence.show("loading")
    store = JobStore(open_database(settings.jobs_url), prompt_key=prompt_key(settings))
    shelf = Shelf(role, settings.weights, settings.models_dir, pick_device(settings.device))
    tools = Tools(
        store=store,
        shelf=shelf,
        media=Media(settings.storage_url),
        blocklist=Blocklist.load(settings.blocklist),
        scratch=settings.scratch_dir,
        worker_id=worker_id,
        hash_key=hash_key(settings),
    )
    _zero_counters()
    if preload:
        _preload(shelf, settings)
    try:
        run_worker(
            role,
            {
                "encode": presence.during(lambda job_id: pipeline.encode(job_id, tools)),
                "generate": presence.during(lambda job_id: pipeline.generate(job_id, tools)),
            },
            store=store,
            worker_id=worker_id,
            workers_dir=settings.workers_dir,
            stop=stop,
            on_ready=presence.ready,
            on_failed=_on_failed,
        )
        board.withdraw(worker_id)
        _LOG.info("worker.stopped", worker_role=role, pid=os.getpid())
    finally:
        shutdown()


def _preload(shelf: Shelf, settings: Settings) -> None:
    """Loads every model before the first job; one that can't be loaded fails its jobs, not the worker."""
    for name in available({}):
        try:
            shelf.get(name)
        except WeightsMissing as error:
            _LOG.error("log.message", error=str(error))
    if settings.torch_threads:
        import torch

        torch.set_num_threads(settings.torch_threads)


def _zero_counters() -> None:
    """Counters exist from the start, so that their first event shows in rate() and increase()."""
    instruments.video_generation_success_total.zero(model=MODELS)
    instruments.video_generation_failure_total.zero(model=MODELS)
    instruments.video_seconds_generated_total.zero(model=MODELS)
    instruments.credits_consumed_total.zero(model=MODELS)


def _on_failed(job: Job, _error: BaseException | None) -> None:
    outcome.finish_failed(job)
