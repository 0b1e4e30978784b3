"""A worker process: takes jobs off the queue of its role, one at a time, and makes videos of them."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import nullcontext
from typing import Final

from rushes.catalog import MODELS
from rushes.instrument.gpu import Collector, WorkerProcess, by_process, visible_devices
from rushes.sdk import configure, instruments, logs, serve_metrics, shutdown
from rushes.settings import Settings
from rushes.studio import outcome, pipeline
from rushes.studio.board import Board
from rushes.studio.cost import describe
from rushes.studio.device import pick_device
from rushes.studio.jobs import (
    HOST,
    Claims,
    FileLiveness,
    Heartbeat,
    JobStore,
    Role,
    WorkerInfo,
    WorkerLock,
    Workers,
    open_database,
    run_worker,
)
from rushes.studio.models import WeightsMissing, available
from rushes.studio.policies import tier_policies
from rushes.studio.presence import Presence
from rushes.studio.provider import Provider
from rushes.studio.recovery import encode_again, tell_interrupted
from rushes.studio.render import Tools
from rushes.studio.safety import Blocklist
from rushes.studio.scratch import leaving_nothing, sweep
from rushes.studio.secret_files import hash_key, prompt_key
from rushes.studio.shelf import Shelf
from rushes.studio.storage import Media

__all__ = ["DRAIN_S", "work"]

DRAIN_S: Final = 30.0  # how long a worker that is told to stop may go on with the job in hand

_LOG: Final = logs.get_logger("worker")


def work(
    settings: Settings,
    role: Role,
    worker_id: str,
    stop: threading.Event,
    *,
    realtime: bool = False,
    preload: bool = True,
) -> bool:
    """Works until `stop` is set, then finishes the job in hand; `realtime`: takes realtime jobs only.

    Returns:
        Whether all has ended; if not, a thread is still at a job that has gone back to its queue.

    Raises:
        WorkerBusyError: a living worker has this id.
        ValueError: the id is malformed.
    """
    theirs = Provider(settings.veo) if settings.veo.configured else nullcontext()
    with WorkerLock(settings.workers_dir, worker_id, role) as lock, theirs as provider:
        configure(instance=worker_id, endpoint=settings.telemetry_endpoint, log_level=settings.log_level)
        logs.bridge_stdlib(logging.WARNING)
        try:
            return _work(settings, role, lock, stop, provider, realtime=realtime, preload=preload)
        finally:
            shutdown()


def _work(
    settings: Settings,
    role: Role,
    lock: WorkerLock,
    stop: threading.Event,
    provider: Provider | None,
    *,
    realtime: bool,
    preload: bool,
) -> bool:
    device = pick_device(settings.device)
    store = JobStore(open_database(settings.jobs_url), prompt_key=prompt_key(settings))
    workers, policies = Workers(store.engine), tier_policies(settings)
    shelf = Shelf(
        role,
        settings.weights,
        settings.models_dir,
        device,
        sample_every=settings.sample_every,
        memory_bytes=None if settings.model_memory_gib is None else round(settings.model_memory_gib * 2**30),
    )
    instruments.rushes_model_cache_bytes.observe(
        lambda: [(size, {"model": name}) for name, size in shelf.sizes().items()]
    )
    info = WorkerInfo(
        worker_id=lock.worker_id,
        executor_id=lock.executor_id,
        pid=os.getpid(),
        role=role,
        state="loading",
        realtime=realtime,
        devices=visible_devices(device, os.environ),
        metrics=serve_metrics(),
    )
    presence = Presence(workers, info, shelf.warm, stop)
    presence.say()
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
        policies=policies,
        max_retries=settings.max_retries,
        encode_again=encode_again(store),
        provider=provider,
        device=describe(device, settings.cost),
        provider_usd_per_second=settings.cost.provider_usd_per_second,
        upsize=None if settings.upsize == "off" else settings.upsize,
        stopping=stop,
    )
    sweep(settings.scratch_dir, store)
    ended = leaving_nothing(tools.ending.failed, store=store, media=tools.media, scratch=tools.scratch)
    _zero_counters()
    board = Board(workers, FileLiveness(settings.workers_dir), lease_s=settings.worker_lease_s)
    gpus = Collector(settings.data_dir / "gpu.lock", workers=by_process(lambda: _processes(board)))
    gpus.start()
    try:
        with Heartbeat(presence.say):
            if preload:
                _preload(shelf, settings)
            finished = run_worker(
                role,
                {
                    "encode": presence.during(lambda job: pipeline.encode(job, tools)),
                    "generate": presence.during(lambda job: pipeline.generate(job, tools)),
                },
                store=store,
                claims=Claims(
                    store.engine,
                    worker_id=lock.worker_id,
                    executor_id=lock.executor_id,
                    realtime=realtime,
                    policies=policies,
                    patience_s=settings.warm_patience_s,
                ),
                stop=stop,
                warm=shelf.warm,
                on_ready=presence.ready,
                on_failed=lambda job, _error: ended(job),
                on_left=lambda job, stage, why: tell_interrupted(job, stage, why=why),
                drain_s=DRAIN_S,
            )
        workers.withdraw(lock.executor_id)
        _LOG.info("worker.stopped", worker_role=role, pid=os.getpid())
    finally:
        gpus.stop()
    return finished


def _preload(shelf: Shelf, settings: Settings) -> None:
    """Loads the models before the first job, as far as there is room; one that can't be fails its jobs only."""
    for name in available({}):
        try:
            shelf.preload(name)
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
        if w.host == HOST and w.state != "offline"
    ]


def _zero_counters() -> None:
    """Counters exist from the start, so that their first event shows in rate() and increase()."""
    instruments.video_generation_success_total.zero(model=MODELS)
    instruments.video_generation_failure_total.zero(model=MODELS)
    instruments.job_timeout_total.zero(model=MODELS)
    instruments.video_seconds_generated_total.zero(model=MODELS)
    instruments.credits_consumed_total.zero(model=MODELS)
