"""Videos as durable jobs: their rows, their two queues, the workers' liveness and the reaper of lost ones."""

from rushes.studio.jobs.database import open_database
from rushes.studio.jobs.depth import QueueDepth
from rushes.studio.jobs.forget import cut_log, forget_prompts
from rushes.studio.jobs.job import (
    INTERRUPTED,
    MAX_RECOVERIES,
    NO_SEED,
    TERMINAL,
    Job,
    JobPrompt,
    JobState,
    Stage,
    new_job_id,
)
from rushes.studio.jobs.liveness import FileLiveness, Liveness, WorkerBusyError, WorkerLock, pid_of
from rushes.studio.jobs.operations import Operation, Operations
from rushes.studio.jobs.patience import patiently
from rushes.studio.jobs.queue import Submitter, priority_of
from rushes.studio.jobs.reaper import Reaper
from rushes.studio.jobs.store import Deletion, JobPage, JobStore, PromptUnreadableError
from rushes.studio.jobs.unused import remove_unused, sweep_unused
from rushes.studio.jobs.worker import Handler, Role, run_worker

__all__ = [
    "INTERRUPTED",
    "MAX_RECOVERIES",
    "NO_SEED",
    "TERMINAL",
    "Deletion",
    "FileLiveness",
    "Handler",
    "Job",
    "JobPage",
    "JobPrompt",
    "JobState",
    "JobStore",
    "Liveness",
    "Operation",
    "Operations",
    "PromptUnreadableError",
    "QueueDepth",
    "Reaper",
    "Role",
    "Stage",
    "Submitter",
    "WorkerBusyError",
    "WorkerLock",
    "cut_log",
    "forget_prompts",
    "new_job_id",
    "open_database",
    "patiently",
    "pid_of",
    "priority_of",
    "remove_unused",
    "run_worker",
    "sweep_unused",
]
