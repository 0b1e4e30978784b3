"""The two queues, kept by DBOS: `encode` for prompts (any CPU) and `generate` for renders (one a GPU).

DBOS stores a workflow's input in clear: it is a job's id and nothing else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from dbos import DBOSClient

from rushes.studio.jobs.job import JobState

if TYPE_CHECKING:
    import sqlalchemy as sa

    from rushes.studio.jobs.job import Job

QueueName = Literal["encode", "generate"]

APPLICATION: Final = "rushes-studio"
# Fixed, not a hash of the code: a worker takes over jobs that were submitted before it was updated.
APPLICATION_VERSION: Final = "1"
QUEUES: Final[tuple[QueueName, ...]] = ("encode", "generate")

_QUEUE_OF: Final[dict[JobState, QueueName]] = {JobState.QUEUED: "encode", JobState.WAITING: "generate"}

_POLLING_INTERVAL_S: Final = 0.05
_CLIENT_LOGGER: Final = logging.getLogger("dbos")

_EPOCH_S: Final = 1_735_689_600  # 2025-01-01: keeps priorities far below DBOS' limit of 2**31 - 1
_TIER_PENALTY_S: Final = {"premium": 0, "standard": 300, "free": 1800}


def priority_of(job: Job) -> int:
    """DBOS' priority of a job; the smallest is the first. It must always be set: unset is 0 and outranks all.

    `realtime` goes before everything. The others go by age, with a head start for the higher tiers, so that a
    free job is overtaken for half an hour at most, and never starves.
    """
    if job.tier == "realtime":
        return 1
    return max(2, job.accepted_ns // 1_000_000_000 - _EPOCH_S + _TIER_PENALTY_S[job.tier])


class Dequeued(NamedTuple):
    """A job that a worker process has taken off a queue and has not finished with; `attempt` is the job's then."""

    workflow_id: str
    job_id: str
    attempt: int
    executor_id: str | None


class Submitter:
    """Puts jobs on the queues and takes them off, from any process that has the database."""

    def __init__(self, engine: sa.Engine) -> None:
        """`engine` comes from `open_database`. Registers the queues, should they not be yet."""
        if _CLIENT_LOGGER.level == logging.NOTSET:
            _CLIENT_LOGGER.setLevel(logging.WARNING)
        self._client = DBOSClient(system_database_engine=engine, application_name=APPLICATION)
        for queue in QUEUES:
            self._client.register_queue(queue, worker_concurrency=1, polling_interval_sec=_POLLING_INTERVAL_S)

    def enqueue(self, conn: sa.Connection, job: Job) -> None:
        """Enqueues what the job's state says (queued: encoding, waiting: rendering), in the caller's transaction."""
        queue = _QUEUE_OF[job.state]
        self._client.enqueue_in_transaction(
            conn,
            {
                "workflow_name": queue,
                "queue_name": queue,
                # An ended workflow's id can't be used again, and a lost job comes back.
                "workflow_id": f"{job.id}.{queue}.{job.attempt}",
                "priority": priority_of(job),
                "app_version": APPLICATION_VERSION,
                "application_name": APPLICATION,
            },
            job.id,
        )

    def cancel(self, job_id: str) -> None:
        """Takes a job off the queues. A part of it that runs now isn't interrupted: its progress is refused."""
        queued = self._workflows(job_id, status="ENQUEUED")
        if queued:
            self._client.cancel_workflows(queued)

    def forget(self, job_id: str) -> None:
        """Deletes what DBOS keeps of a job: it is finished, or about to be enqueued anew."""
        self._client.delete_workflows(self._workflows(job_id))

    def dequeued(self) -> list[Dequeued]:
        """What worker processes, living or dead, have in hand."""
        pending = self._client.list_workflows(
            status="PENDING", application_name=APPLICATION, load_input=False, load_output=False
        )
        found = []
        for workflow in pending:
            job_id, _, rest = workflow.workflow_id.partition(".")
            attempt = rest.partition(".")[2]  # none in the ids of older versions
            number = int(attempt) if attempt.isdecimal() else -1
            found.append(Dequeued(workflow.workflow_id, job_id, number, workflow.executor_id))
        return found

    def active(self) -> set[str]:
        """The jobs that are on a queue or in a worker's hand."""
        found = self._client.list_workflows(
            status=["ENQUEUED", "DELAYED", "PENDING"],
            application_name=APPLICATION,
            load_input=False,
            load_output=False,
        )
        return {workflow.workflow_id.partition(".")[0] for workflow in found}

    def requeue(self, taken: Dequeued) -> None:
        """Puts back what was taken off a queue by a worker that died before it began."""
        queue = taken.workflow_id.split(".")[1]
        self._client.resume_workflow(taken.workflow_id, queue_name=queue)

    def drop(self, taken: Dequeued) -> None:
        """Ends one workflow of a job that nobody will finish."""
        self._client.cancel_workflow(taken.workflow_id)

    def close(self) -> None:
        """Stops the client; the engine stays open."""
        self._client.destroy()

    def _workflows(self, job_id: str, *, status: str | None = None) -> list[str]:
        found = self._client.list_workflows(
            workflow_id_prefix=f"{job_id}.", status=status, load_input=False, load_output=False
        )
        return [workflow.workflow_id for workflow in found]
