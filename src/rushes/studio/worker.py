"""A worker process: takes jobs off the queue of its role, one at a time, and makes videos of them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final, Literal

from rushes.catalog import MODELS
from rushes.instrument.gpu import Collector, WorkerProcess, by_process, visible_devices
from rushes.sdk import configure, instruments, logs, serve_metrics, shutdown
from rushes.settings import Settings
from rushes.studio import outcome, pipeline
from rushes.studio.board import Board, State, WorkerInfo
from rushes.studio.cost import describe
from rushes.studio.device import pick_device
from rushes.studio.jobs import Job, JobStore, Submitter, WorkerLock, open_database, run_worker
from rushes.studio.models import WeightsMissing, available
from rushes.studio.provider import Provider
from rushes.studio.recovery import encode_again, tell_interrupted
from rushes.studio.render import Tools
from rushes.studio.safety import Blocklist
from rushes.studio.scratch import leaving_nothing, sweep
from rushes.studio.secret_files import hash_key, prompt_key
from rushes.studio.shelf import Shelf
from rushes.studio.storage import Media

__all__ = ["DRAIN_S", "Role", "work"]

Role = Literal["encode", "generate", "all"]

DRAIN_S: Final = 30.0  # how long a worker that is told to stop may go on with the job in hand

_LOG: Final = logs.get_logger("worker")


class _Presence:
    """The worker's state on the board. Telling it never fails the work: a full disk leaves the last word standing."""

    def __init__(self, board: Board, lock: WorkerLock, role: Role, metrics: str) -> None:
        self._board = board
        self._worker = lock
        self._role = role
        self._metrics = metrics
        self._devices = ""
        self._lock = threading.Lock()
        self._busy = 0
        self._draining = False

    def works_on(self, device: str) -> None:
        """The device is chosen, as torch names it: a GPU that hides its processes is known to be ours from here."""
        self._devices = visible_devices(device, os.environ)
        self.show("loading")

    def ready(self) -> None:
        """Jobs are being taken."""
        self._show_work()
        _LOG.info("worker.started", worker_role=self._role, pid=os.getpid())

    def drain_when(self, stop: threading.Event) -> None:
        """Waits for the word to stop; from then on no jobs are taken, and those in hand are finished."""
        stop.wait()
        self._draining = True
        self._show_work()

    def show(self, state: State) -> None:
        """Writes the state."""
        info = WorkerInfo(
            self._worker.worker_id,
            self._role,
            self._worker.executor_id,
            os.getpid(),
            state,
            self._metrics,
            self._devices,
        )
        try:
            self._board.publish(info)
        except OSError as error:
            _LOG.error("log.message", error=f"the worker's state can't be written: {error.strerror}")
        _LOG.debug("worker.status.changed", status=state)

    def during(self, work: Callable[[Job], bool | None]) -> Callable[[Job], bool | None]:
        """The handler, with the worker shown as generating while it runs; a worker of both roles may run two."""

        def handle(job: Job) -> bool | None:
            self._count(1)
            try:
                return work(job)
            finally:
                self._count(-1)

        return handle

    def _count(self, change: int) -> None:
        with self._lock:
            self._busy += change
        self._show_work()

    def _show_work(self) -> None:
        with self._lock:
            self.show("draining" if self._draining else "generating" if self._busy else "idle")


def work(
    settings: Settings, role: Role, worker_id: str, stop: threading.Event, *, preload: bool = True
) -> None:
    """Works until `stop` is set, then finishes the job in hand.

    Raises:
        WorkerBusyError: a living worker has this id.
        ValueError: the id is malformed.
    """
    theirs = Provider(settings.veo) if settings.veo.configured else nullcontext()
    with WorkerLock(settings.workers_dir, worker_id, role) as lock, theirs as provider:
        configure(instance=worker_id, endpoint=settings.telemetry_endpoint, log_level=settings.log_level)
        logs.bridge_stdlib(logging.WARNING)
        try:
            _work(settings, role, lock, stop, provider, preload=preload)
        finally:
            shutdown()


def _work(
    settings: Settings,
    role: Role,
    lock: WorkerLock,
    stop: threading.Event,
    provider: Provider | None,
    *,
    preload: bool,
) -> None:
    board = Board(settings.workers_dir)
    presence = _Presence(board, lock, role, serve_metrics())
    presence.show("loading")
    store = JobStore(open_database(settings.jobs_url), prompt_key=prompt_key(settings))
    submitter = Submitter(store.engine)
    device = pick_device(settings.device)
    presence.works_on(device)
    shelf = Shelf(
        role,
        settings.weights,
        settings.models_dir,
        device,
        sample_every=settings.sample_every,
    )
    tools = Tools(
        store=store,
        ending=outcome.Ending(store.engine, credit_usd=settings.cost.credit_usd),
        shelf=shelf,
        media=Media(settings.storage_url),
        blocklist=Blocklist.load(settings.blocklist),
        scratch=settings.scratch_dir,
        worker_id=lock.worker_id,
        hash_key=hash_key(settings),
        checkpoint_every=settings.checkpoint_every,
        encode_again=encode_again(store, submitter),
        provider=provider,
        device=describe(device, settings.cost),
        provider_usd_per_second=settings.cost.provider_usd_per_second,
        stopping=stop,
    )
    sweep(settings.scratch_dir, store)
    ended = leaving_nothing(tools.ending.failed, store=store, media=tools.media, scratch=tools.scratch)
    _zero_counters()
    threading.Thread(target=presence.drain_when, args=(stop,), daemon=True).start()
    gpus = Collector(settings.data_dir / "gpu.lock", workers=by_process(lambda: _processes(board)))
    gpus.start()
    if preload:
        _preload(shelf, settings)
    try:
        run_worker(
            role,
            {
                "encode": presence.during(lambda job: pipeline.encode(job, tools)),
                "generate": presence.during(lambda job: pipeline.generate(job, tools)),
            },
            store=store,
            lock=lock,
            stop=stop,
            on_ready=presence.ready,
            on_failed=lambda job, _error: ended(job),
            on_left=lambda job, stage: tell_interrupted(job, stage, why="it was stopped"),
            drain_s=DRAIN_S,
        )
        board.withdraw(lock.worker_id)
        _LOG.info("worker.stopped", worker_role=role, pid=os.getpid())
    finally:
        gpus.stop()
        submitter.close()


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


def _processes(board: Board) -> list[WorkerProcess]:
    """The host's workers, for whoever has to say which of them a GPU works for."""
    return [
        WorkerProcess(w.worker_id, frozenset({w.pid}), w.devices)
        for w in board.workers()
        if w.state != "offline"
    ]


def _zero_counters() -> None:
    """Counters exist from the start, so that their first event shows in rate() and increase()."""
    instruments.video_generation_success_total.zero(model=MODELS)
    instruments.video_generation_failure_total.zero(model=MODELS)
    instruments.video_seconds_generated_total.zero(model=MODELS)
    instruments.credits_consumed_total.zero(model=MODELS)
