"""A studio whose processes are killed and stopped while it makes videos, and the account of what came of them.

Nothing is asserted while it goes on: the account says what was lost, doubled, charged, recomputed and left behind.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from rushes.studio.jobs import open_database
from rushes.studio.keys import Discrepancy, audit
from studio_processes import Process, StudioProcesses, eventually

__all__ = ["CHECKPOINT_EVERY", "SETTINGS", "STOPPED_S", "Account", "Cancelled", "Chaos"]

CHECKPOINT_EVERY: Final = 5
STOPPED_S: Final = 13.0
SETTINGS: Final = {
    "RUSHES_CHECKPOINT_EVERY": str(CHECKPOINT_EVERY),
    "RUSHES_WORKER_LEASE_S": "6",  # shorter than a stop: others go on with the work, and then the worker comes back
    "RUSHES_HUNG_AFTER_S": "10",
}
_MODELS: Final = ("MOCHI1", "LTX2", "OPENSORA")
_STEPS: Final = 24
_WAIT_S: Final = 1800.0


@dataclass
class Account:
    """What came of the videos.

    Attributes:
        accepted: ids that the gateway answered with.
        lost: accepted and not completed.
        unanswered: accepted, but the answer did not come: the gateway was killed just then.
        objects: videos in the store; `distinct` are the contents of the completed jobs.
        not_charged_once: jobs whose charge is not exactly what was reserved, once.
        disturbed: jobs that a worker was lost with.
        different: of those, the ones whose bytes are others than those of an undisturbed run.
        recomputed: denoising steps that were done again, for each lost render.
        recovery_s: from a lost worker's last sign to the next worker's start on the job, the wait for it included.
        came_back: workers that went on with a job after another had been given it: stopped ones that were let go on.
        left_in_scratch: folders of ended jobs.
        reserved_left: credits that are neither charged nor given back.
    """

    kills: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    unanswered: int = 0
    lost: dict[str, str] = field(default_factory=dict)
    objects: int = 0
    distinct: int = 0
    damaged: list[str] = field(default_factory=list)
    not_charged_once: list[str] = field(default_factory=list)
    discrepancies: list[Discrepancy] = field(default_factory=list)
    disturbed: set[str] = field(default_factory=set)
    different: list[str] = field(default_factory=list)
    recomputed: list[int] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    came_back: int = 0
    left_in_scratch: list[str] = field(default_factory=list)
    reserved_left: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Cancelled:
    """What came of videos that were cancelled at random moments, a second after the last one."""

    asked: int
    by_state: Counter[str]
    busy_workers: int
    objects_left: int
    scratch_left: int
    reserved_left: int
    discrepancies: list[Discrepancy]


class Chaos:
    """One studio, a seed, and what is done to it."""

    def __init__(self, studio: StudioProcesses, seed: int) -> None:
        self.studio = studio
        self.chance = random.Random(seed)  # noqa: S311 - when to kill is no secret
        self.engine = open_database(studio.jobs_url)
        self.account = Account()

    def close(self) -> None:
        """Closes the database."""
        self.engine.dispose()

    # Making videos, and trouble

    def run(self, jobs: int, *, kills: int, stops: int) -> Account:
        """Has so many videos made while processes are killed and stopped, and says what came of them."""
        begun = time.monotonic()
        submitter = threading.Thread(target=self._submit_all, args=(jobs,))
        submitter.start()
        trouble = ["kill"] * kills + ["stop"] * stops
        self.chance.shuffle(trouble)
        for number, kind in enumerate(trouble):
            self._until_done(jobs * number // (len(trouble) + 1))
            self._disturb(kind)
        submitter.join()
        self._until_done(jobs, all_of_them=True)
        self.account.seconds = time.monotonic() - begun
        self._settle_down()
        self._take_account()
        self._compare()
        return self.account

    def _submit_all(self, jobs: int) -> None:
        for number in range(jobs):
            self.account.accepted.add(self._submit_surely(number, f"chaos-{number}"))

    def _submit_surely(self, number: int, key: str) -> str:
        return eventually(lambda: self._submit(self._body(number), key), seconds=300, what="an answer")

    def _submit(self, body: dict[str, Any], key: str) -> str | None:
        try:
            reply = self.studio.call("POST", "/v1/videos", json=body, headers={"Idempotency-Key": key})
        except httpx.HTTPError:
            return None  # killed just now: sent again, and made twice if it had been accepted
        if reply.status_code in {429, 500, 503}:
            return None
        assert reply.status_code == httpx.codes.OK, reply.text
        return str(reply.json()["id"])

    @staticmethod
    def _body(number: int) -> dict[str, Any]:
        model = _MODELS[number % len(_MODELS)]
        return {"model": model, "prompt": f"chaos {number}", "seed": 1000 + number, "steps": _STEPS}

    def _disturb(self, kind: str) -> None:
        def ready() -> list[Process]:
            self.studio.restart_ended()
            return [p for p in self.studio.all if self.studio.ready(p)]

        # Two, so that the studio is never wholly down and starts again with what it has.
        up = eventually(
            lambda: found if len(found := ready()) >= 2 else None, seconds=120, what="two processes"
        )
        if kind == "stop":  # a worker, if one is up: it comes back to what is another's by then
            up = [process for process in up if process in self.studio.workers] or [self.studio.gateway]
        victim = self.chance.choice(up)
        time.sleep(self.chance.uniform(0, 1.5))
        if kind == "kill":
            self.account.kills[_role(victim)] += 1
            victim.send(signal.SIGKILL)
        else:
            self.account.stops[_role(victim)] += 1
            victim.send(signal.SIGSTOP)
            self._pass(STOPPED_S)
            victim.send(signal.SIGCONT)

    def _pass(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.1)
            self.studio.restart_ended()

    def _until_done(self, jobs: int, *, all_of_them: bool = False) -> None:
        def look() -> bool:
            self.studio.restart_ended()
            ended = self._scalar(
                "SELECT count(*) FROM jobs WHERE state IN ('completed', 'failed', 'cancelled')"
            )
            return ended >= (self._scalar("SELECT count(*) FROM jobs") if all_of_them else jobs)

        eventually(look, seconds=_WAIT_S, what=f"the end of {jobs} videos")

    def _settle_down(self) -> None:
        """All processes up, and a moment for what is done after a job's end."""
        self.studio.restart_ended()
        eventually(lambda: all(map(self.studio.ready, self.studio.all)), seconds=120, what="all processes")
        eventually(lambda: not self._scratch(), seconds=90, what="an empty scratch folder")

    # The account

    def _take_account(self) -> None:
        account, rows = self.account, self._rows("SELECT * FROM jobs")
        by_id = {row.id: row for row in rows}
        account.unanswered = len(by_id.keys() - account.accepted)
        account.lost = {
            job_id: f"{by_id[job_id].state}: {by_id[job_id].error_message}"
            if job_id in by_id
            else "not there"
            for job_id in sorted(account.accepted | by_id.keys())
            if job_id not in by_id or by_id[job_id].state != "completed"
        }
        stored = self._objects()
        wanted = {row.media for row in rows if row.state == "completed"}
        account.objects, account.distinct = len(stored), len(wanted)
        account.damaged = sorted(wanted - stored.keys()) + [n for n, ok in stored.items() if not ok]
        booked = Counter(
            (row.job_id, row.kind)
            for row in self._rows("SELECT job_id, kind FROM credit_ledger WHERE job_id <> ''")
        )
        account.not_charged_once = [
            row.id
            for row in rows
            if (booked[row.id, "reserve"], booked[row.id, "settle"], booked[row.id, "refund"]) != (1, 1, 0)
            or row.credits_charged != row.credits_reserved
        ]
        account.discrepancies = audit(self.engine)
        account.reserved_left = self._reserved()
        account.left_in_scratch = self._scratch()
        self._look_at_recoveries(by_id)

    def _look_at_recoveries(self, by_id: dict[str, Any]) -> None:
        done: Counter[str] = Counter(
            line["request_id"]
            for line in self.studio.log_lines()
            if line.get("event") == "generation.step.completed"
        )
        renders = Counter(
            row.job_id for row in self._rows("SELECT job_id FROM job_compute WHERE role = 'generate'")
        )
        for job_id, row in by_id.items():
            if row.recoveries:
                self.account.disturbed.add(job_id)
            if renders[job_id] > 1:
                lost = renders[job_id] - 1
                extra = max(0, done[job_id] - row.steps)
                self.account.recomputed += [extra // lost] * (lost - 1) + [extra - extra // lost * (lost - 1)]
        attempts = self._rows(
            "SELECT job_id, role, start_ns, end_ns FROM job_compute ORDER BY job_id, number"
        )
        for lost, next_one in itertools.pairwise(attempts):
            if (lost.job_id, lost.role) != (next_one.job_id, next_one.role):
                continue
            gap_s = (next_one.start_ns - lost.end_ns) / 1e9
            if gap_s < 0:
                self.account.came_back += 1
            else:
                self.account.recovery_s.append(gap_s)

    def _compare(self) -> None:
        """Makes the disturbed videos again, in peace: the same bytes have the same name."""
        disturbed = [self._row(job_id) for job_id in sorted(self.account.disturbed)]
        again = {row.id: self._submit_surely(row.seed - 1000, f"again-{row.id}") for row in disturbed}
        self._until_done(0, all_of_them=True)
        self.account.different = [
            row.id for row in disturbed if self._row(again[row.id]).media != row.media or not row.media
        ]

    # Cancelling

    def cancel(self, jobs: int) -> Cancelled:
        """Has so many videos begun and cancelled at random moments; what is left of them."""
        objects = set(self._objects())
        kept = {row.media for row in self._rows("SELECT media FROM jobs WHERE state = 'completed'")}
        made = [self._submit_surely(100_000 + number, f"cancel-{number}") for number in range(jobs)]
        order = made[:]
        self.chance.shuffle(order)
        for video_id in order:
            time.sleep(self.chance.uniform(0, 0.2))
            assert self.studio.call("DELETE", f"/v1/videos/{video_id}").status_code == httpx.codes.OK
        self._until_done(0, all_of_them=True)
        time.sleep(1)  # a worker notices with its next step, and its object may be on its way
        ids = set(made)
        states = Counter(row.state for row in self._rows("SELECT id, state FROM jobs") if row.id in ids)
        states["deleted"] = jobs - states.total()  # they were completed: nothing was left to cancel
        wanted = {
            r.media for r in self._rows("SELECT id, media, state FROM jobs") if r.state == "completed"
        } | kept
        return Cancelled(
            asked=jobs,
            by_state=states,
            busy_workers=self._busy_workers(),
            objects_left=len(set(self._objects()) - objects - wanted),
            scratch_left=len(self._scratch()),
            reserved_left=self._reserved(),
            discrepancies=audit(self.engine),
        )

    def _busy_workers(self) -> int:
        """Workers that have not let go: of which an attempt is still being counted."""
        before = {(r.job_id, r.number): r.end_ns for r in self._rows("SELECT * FROM job_compute")}
        time.sleep(1.5)
        now = {(r.job_id, r.number): r.end_ns for r in self._rows("SELECT * FROM job_compute")}
        return sum(end != before.get(attempt) for attempt, end in now.items())

    # Looking

    def _rows(self, query: str) -> list[Any]:
        deadline = time.monotonic() + 60
        while True:
            try:
                with self.engine.connect() as conn:
                    return list(conn.execute(sa.text(query)).all())
            except OperationalError:  # the database was killed as well
                if time.monotonic() > deadline:
                    raise
                self.studio.restart_ended()
                time.sleep(0.2)

    def _scalar(self, query: str) -> int:
        return int(self._rows(query)[0][0])

    def _row(self, job_id: str) -> Any:
        return next(row for row in self._rows("SELECT * FROM jobs") if row.id == job_id)

    def _reserved(self) -> int:
        """Credits of jobs that have ended, which nobody charged or gave back."""
        return self._scalar(
            "SELECT coalesce(sum(credits_reserved), 0) FROM jobs j WHERE NOT EXISTS"
            " (SELECT 1 FROM credit_ledger l WHERE l.job_id = j.id AND l.kind IN ('settle', 'refund'))"
        )

    def _scratch(self) -> list[str]:
        folder = self.studio.data_dir / "scratch"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def _objects(self) -> dict[str, bool]:
        """The names in the store, and whether each one's bytes are what its name says."""
        folder = self.studio.data_dir / "videos"
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
            for path in folder.rglob("*")
            if path.is_file()
        }


def _role(process: Process) -> str:
    return process.name.partition("-")[0]
