"""The jobs' rows and every change of them: compare-and-set, so that a final state never changes again.

What a change means for the credits happens in the same transaction as the change, and so exactly once.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken

from rushes.studio import keys
from rushes.studio.cost.table import compute
from rushes.studio.jobs import depth, rows, table
from rushes.studio.jobs.forget import cut_log
from rushes.studio.jobs.job import (
    HELD_BY_WORKER,
    INTERRUPTED,
    MAX_RECOVERIES,
    RETRIED,
    TERMINAL,
    WAITING,
    Job,
    JobPrompt,
    JobState,
    Stage,
)
from rushes.studio.jobs.table import jobs
from rushes.studio.jobs.unused import alone_with, note_unused
from rushes.studio.webhooks.outbox import note_end

if TYPE_CHECKING:
    from collections.abc import Callable

_MESSAGE_LIMIT: Final = 1000


class PromptUnreadableError(Exception):
    """A prompt was encrypted with another key than the one that was configured."""


class JobPage(NamedTuple):
    """Some of a key's jobs, and whether there are more after them."""

    jobs: list[Job]
    has_more: bool


class Deletion(NamedTuple):
    """What a deleted job leaves: the name of its video, for `remove_unused`."""

    media: str | None


class JobStore:
    """The jobs in one database. Every method may be called from any thread of any process."""

    def __init__(
        self, engine: sa.Engine, *, prompt_key: bytes, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Args:
        engine: from `open_database`.
        prompt_key: 32 url-safe base64 bytes (`Fernet.generate_key()`); without it prompts are unreadable.
        clock: Unix nanoseconds.

        Raises:
            ValueError: `prompt_key` is no such key.
        """
        self.engine = engine
        self._fernet = Fernet(prompt_key)
        self._clock = clock

    # Creating, reading, deleting

    def create(
        self,
        job: Job,
        *,
        key: keys.ApiKey,
        prompt: JobPrompt,
        picture: bytes | None = None,
        first: Callable[[sa.Connection], None] = lambda _: None,
    ) -> None:
        """Counts the quota, reserves the credits, writes the job with its stages: all or nothing.

        From then on the job waits for a worker that encodes its prompt.

        `first` is called in the same transaction, before all else; what it raises undoes everything.

        Raises:
            KeyRefusedError: the quota or the credits don't suffice.
        """
        secret = json.dumps({"text": prompt.text, "negative": prompt.negative}).encode()
        values = {name: getattr(job, name) for name in rows.COLUMNS}
        with self.engine.begin() as conn:
            first(conn)
            keys.consume_quota(conn, key, at_ns=job.accepted_ns)
            keys.reserve(
                conn, key_id=key.id, job_id=job.id, amount=job.credits_reserved, at_ns=job.accepted_ns
            )
            conn.execute(sa.insert(jobs).values(values))
            conn.execute(
                sa.insert(table.prompts).values(job_id=job.id, encrypted=self._fernet.encrypt(secret))
            )
            if picture is not None:
                conn.execute(
                    sa.insert(table.pictures).values(job_id=job.id, encrypted=self._fernet.encrypt(picture))
                )
            for stage in job.stages:
                conn.execute(sa.insert(table.stages).values(job_id=job.id, **stage._asdict()))

    def get(self, job_id: str, *, key_id: str | None = None) -> Job | None:
        """The job, or None if there is none, or, with `key_id`, if it is another key's."""
        query = sa.select(jobs).where(jobs.c.id == job_id)
        if key_id is not None:
            query = query.where(jobs.c.key_id == key_id)
        return next(iter(self._load(query)), None)

    def page(
        self,
        key_id: str,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> JobPage:
        """A key's jobs by time of acceptance, from behind the job `after`.

        Raises:
            LookupError: the key has no job `after`.
        """
        query = sa.select(jobs).where(jobs.c.key_id == key_id)
        place = sa.tuple_(jobs.c.accepted_ns, jobs.c.id)
        if after is not None:
            last = self.get(after, key_id=key_id)
            if last is None:
                raise LookupError(after)
            mark = sa.tuple_(sa.literal(last.accepted_ns), sa.literal(last.id))
            query = query.where(place > mark if order == "asc" else place < mark)
        columns = (jobs.c.accepted_ns, jobs.c.id)
        query = query.order_by(*(column.asc() if order == "asc" else column.desc() for column in columns))
        found = self._load(query.limit(limit + 1))
        return JobPage(found[:limit], len(found) > limit)

    def prompt(self, job_id: str) -> JobPrompt:
        """The decrypted prompt.

        Raises:
            LookupError: there is no such job.
            PromptUnreadableError: it was encrypted with another key.
        """
        encrypted = self._secret(table.prompts, job_id)
        if encrypted is None:
            raise LookupError(job_id)
        texts = json.loads(encrypted)
        return JobPrompt(texts["text"], texts["negative"])

    def picture(self, job_id: str) -> bytes | None:
        """The PNG that the job's video begins with, decrypted; None if it has none. Raises PromptUnreadableError."""
        return self._secret(table.pictures, job_id)

    def delete(self, job_id: str) -> Deletion | None:
        """Forgets a finished job with its prompt and stages; None if there was none, finished."""
        with self.engine.begin() as conn:
            gone = conn.execute(
                sa.delete(jobs)
                .where(jobs.c.id == job_id, jobs.c.state.in_(tuple(TERMINAL)))
                .returning(jobs.c.media)
            ).one_or_none()
            if gone is None:
                return None
            conn.execute(sa.delete(table.prompts).where(table.prompts.c.job_id == job_id))
            conn.execute(sa.delete(table.pictures).where(table.pictures.c.job_id == job_id))
            conn.execute(sa.delete(table.stages).where(table.stages.c.job_id == job_id))
            conn.execute(sa.delete(table.operations).where(table.operations.c.job_id == job_id))
            conn.execute(sa.delete(compute).where(compute.c.job_id == job_id))
            if gone.media is not None:
                note_unused(conn, job_id, gone.media)
        cut_log(self.engine)
        return Deletion(gone.media)

    # A job's way. Each says whether the job was in a state that allows it and so has moved: by True, or by the job
    # as it is afterwards, since whoever deletes it may be faster than a second look. What only the worker that has
    # a job may do takes the job as it was given to that worker, and is refused once it was given to another.

    def enqueue_generation(self, job: Job) -> bool:
        """From encoding to waiting."""
        with self.engine.begin() as conn:
            return rows.change(conn, job.id, JobState.WAITING, held=job, ready_ns=self._clock()) is not None

    def start_generating(self, job: Job) -> bool:
        """From assigned to generating."""
        with self.engine.begin() as conn:
            return rows.change(conn, job.id, JobState.GENERATING, held=job) is not None

    def set_progress(self, job: Job, step: int) -> bool:
        """Notes that `step` denoising steps are done; False says to stop: the job is this worker's no more."""
        furthest = sa.case((jobs.c.furthest_step < step, step), else_=jobs.c.furthest_step)
        return self._note(job, step=step, furthest_step=furthest)

    def say_alive(self, job: Job) -> bool:
        """Notes that the worker is at it, where no step shows that; False says to stop, as above."""
        return self._note(job, alive_ns=self._clock())

    def reserve_media(self, job: Job, name: str) -> bool:
        """Notes under which name a video will be stored, before it is; False says to stop, as above.

        From then on nobody who deletes an equal video takes this one's away; somebody who is at it is waited for.
        """
        with alone_with(self.engine, name) as conn:
            return rows.note(conn, job, media=name)

    def complete(
        self, job: Job, *, media: str, size_bytes: int, credits_charged: int | None = None
    ) -> Job | None:
        """From generating to completed; charges `credits_charged` of the reserved credits, by default all."""
        now = self._clock()
        with self.engine.begin() as conn:
            done = rows.change(
                conn,
                job.id,
                JobState.COMPLETED,
                held=job,
                finished_ns=now,
                media=media,
                size_bytes=size_bytes,
                credits_charged=jobs.c.credits_reserved if credits_charged is None else credits_charged,
            )
            if done is None:
                return None
            keys.settle(
                conn,
                key_id=done.key_id,
                job_id=done.id,
                reserved=done.credits_reserved,
                charged=done.credits_charged or 0,
                at_ns=now,
            )
            note_end(conn, done)
            return rows.with_stages(conn, done)

    def fail(
        self, job_id: str, *, code: str, message: str, reason: str, held: Job | None = None
    ) -> Job | None:
        """From any unfinished state to failed, with the credits given back.

        Args:
            job_id: the job.
            held: as it was given to the worker that fails it; None for those who may fail any.
            code: for the caller, such as "internal_error".
            message: for the caller: what went wrong and what to do; never with a prompt in it.
            reason: the `reason` label of `video_generation_failure_total`.
        """
        return self._give_up(
            job_id,
            JobState.FAILED,
            held=held,
            error_code=code,
            error_message=message[:_MESSAGE_LIMIT],
            failure_reason=reason,
        )

    def cancel(self, job_id: str) -> Job | None:
        """From any unfinished state to cancelled, with the credits given back."""
        return self._give_up(job_id, JobState.CANCELLED)

    def append_stage(self, job: Job, name: str, start_ns: int, end_ns: int) -> None:
        """Adds a stage to the job's account of its time, unless it is this worker's no more."""
        with self.engine.begin() as conn:
            held = sa.select(sa.literal(1)).where(jobs.c.id == job.id, jobs.c.attempt == job.attempt)
            if conn.execute(held).first() is not None:
                stage = {"name": name, "start_ns": start_ns, "end_ns": end_ns}
                conn.execute(sa.insert(table.stages).values(job_id=job.id, **stage))

    # The queue as a whole

    def recover(self, held: Job, *, lost: bool = True, encoded: bool | None = None) -> Stage | None:
        """From a worker's hands back to a queue. From now on that worker can't change the job.

        Args:
            held: the job as it is, or was when it was given to the worker.
            lost: whether that was a worker's death or the like, which a job may cause `MAX_RECOVERIES` times.
            encoded: whether its encoded prompt is there: it goes back to be rendered, else to be encoded. By
                default as its state says.

        Returns:
            The stage that accounts for the job's time until now; None if the job is in those hands no more, or
            was lost too often.
        """
        values = {"recoveries": jobs.c.recoveries + int(lost)}
        allowed = jobs.c.recoveries < MAX_RECOVERIES if lost else sa.true()
        return self._send_back(held, INTERRUPTED, allowed, encoded=encoded, values=values)

    def retry(self, held: Job, *, after_s: float, careful: bool, limit: int) -> Stage | None:
        """From a worker's hands back to the queue, to be tried again from `after_s` seconds on, at most `limit` times.

        Args:
            held: the job as it was given to the worker.
            after_s: seconds.
            careful: whether to render with less memory from now on.
            limit: retries of one job.

        Returns:
            As `recover`.
        """
        values = {
            "retries": jobs.c.retries + 1,
            "careful": held.careful or careful,
            "ready_ns": self._clock() + round(after_s * 1e9),
        }
        return self._send_back(held, RETRIED, jobs.c.retries < limit, values=values)

    def holds(self, job: Job) -> bool:
        """Whether the job is unfinished and still in the hands of the worker that it was given to as `job`."""
        now = self.get(job.id)
        return now is not None and not now.terminal and now.attempt == job.attempt

    def held_by_workers(self) -> list[Job]:
        """The jobs that a worker says to be working on."""
        return self._load(sa.select(jobs).where(jobs.c.state.in_(HELD_BY_WORKER)))

    def depth(self) -> list[depth.QueueDepth]:
        """Unfinished jobs by tier, model and status (waiting, assigned, generating)."""
        return depth.read_depth(self.engine)

    def waiting(self) -> int:
        """How many jobs wait: accepted, and not yet on a worker for rendering."""
        return depth.count_in(self.engine, WAITING)

    def oldest_ns(self) -> dict[tuple[str, bool], int]:
        """When the oldest unfinished job of each tier was accepted: of those that wait (True), and of all (False)."""
        return depth.read_oldest(self.engine)

    # Inside

    def _secret(self, kept: sa.Table, job_id: str) -> bytes | None:
        with self.engine.connect() as conn:
            encrypted = conn.execute(sa.select(kept.c.encrypted).where(kept.c.job_id == job_id)).scalar()
        try:
            return None if encrypted is None else self._fernet.decrypt(encrypted)
        except InvalidToken:
            msg = f"the prompt of {job_id} was encrypted with another prompt key; restore the key it was made with"
            raise PromptUnreadableError(msg) from None

    def _send_back(
        self,
        held: Job,
        stage_name: str,
        allowed: sa.ColumnElement[bool],
        *,
        values: dict[str, Any],
        encoded: bool | None = None,
    ) -> Stage | None:
        done = held.state is not JobState.ENCODING if encoded is None else encoded
        nobodys: dict[str, Any] = {
            "attempt": jobs.c.attempt + 1,
            "worker_id": None,
            "executor_id": None,
            "alive_ns": None,
        }
        nobodys |= {"state": JobState.WAITING if done else JobState.QUEUED, "ready_ns": self._clock()}
        change = sa.update(jobs).where(
            jobs.c.id == held.id, jobs.c.state.in_(HELD_BY_WORKER), jobs.c.attempt == held.attempt, allowed
        )
        with self.engine.begin() as conn:
            row = conn.execute(change.values(nobodys | values).returning(*jobs.c)).one_or_none()
            if row is None:
                return None
            job = rows.with_stages(conn, rows.job_of(row))
            stage = Stage(stage_name, job.reached_ns, max(self._clock(), job.reached_ns))
            conn.execute(sa.insert(table.stages).values(job_id=job.id, **stage._asdict()))
        return stage

    def _give_up(self, job_id: str, to: JobState, *, held: Job | None = None, **values: Any) -> Job | None:
        now = self._clock()
        with self.engine.begin() as conn:
            job = rows.change(conn, job_id, to, held=held, finished_ns=now, credits_charged=0, **values)
            if job is None:
                return None
            keys.refund(conn, key_id=job.key_id, job_id=job_id, amount=job.credits_reserved, at_ns=now)
            note_end(conn, job)
            return rows.with_stages(conn, job)

    def _note(self, job: Job, **values: Any) -> bool:
        with self.engine.begin() as conn:
            return rows.note(conn, job, **values)

    def _load(self, query: sa.Select[Any]) -> list[Job]:
        with self.engine.connect() as conn:
            return rows.load(conn, query)
