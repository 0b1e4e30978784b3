"""Videos as durable jobs: their rows, which are the queue, who takes which, the workers' liveness and the reaper."""

from rushes.studio.jobs.claims import Claims
from rushes.studio.jobs.database import DatabaseUnreachableError, open_database
from rushes.studio.jobs.depth import QueueDepth
from rushes.studio.jobs.forecast import Outlook, Place, QueueFullError
from rushes.studio.jobs.forget import cut_log, forget_prompts
from rushes.studio.jobs.job import (
    INTERRUPTED,
    JOB_ID,
    MAX_RECOVERIES,
    NO_SEED,
    RETRIED,
    TERMINAL,
    Job,
    JobPrompt,
    JobState,
    Stage,
    new_job_id,
)
from rushes.studio.jobs.liveness import FileLiveness, Liveness, WorkerBusyError, WorkerLock, pid_of
from rushes.studio.jobs.operations import Operation, Operations
from rushes.studio.jobs.patience import DATABASE_AWAY, patiently
from rushes.studio.jobs.reaper import Reaper
from rushes.studio.jobs.schedule import POLICIES, PRIORITIES, TierPolicy, policy_of
from rushes.studio.jobs.store import Deletion, JobPage, JobStore, PromptUnreadableError
from rushes.studio.jobs.unused import remove_unused, sweep_unused
from rushes.studio.jobs.worker import Handler, Role, run_worker
from rushes.studio.jobs.workers import HOST, Heartbeat, WorkerInfo, Workers, WorkerState

__all__ = [
    "DATABASE_AWAY",
    "HOST",
    "INTERRUPTED",
    "JOB_ID",
    "MAX_RECOVERIES",
    "NO_SEED",
    "POLICIES",
    "PRIORITIES",
    "RETRIED",
    "TERMINAL",
    "Claims",
    "DatabaseUnreachableError",
    "Deletion",
    "FileLiveness",
    "Handler",
    "Heartbeat",
    "Job",
    "JobPage",
    "JobPrompt",
    "JobState",
    "JobStore",
    "Liveness",
    "Operation",
    "Operations",
    "Outlook",
    "Place",
    "PromptUnreadableError",
    "QueueDepth",
    "QueueFullError",
    "Reaper",
    "Role",
    "Stage",
    "TierPolicy",
    "WorkerBusyError",
    "WorkerInfo",
    "WorkerLock",
    "WorkerState",
    "Workers",
    "cut_log",
    "forget_prompts",
    "new_job_id",
    "open_database",
    "patiently",
    "pid_of",
    "policy_of",
    "remove_unused",
    "run_worker",
    "sweep_unused",
]
