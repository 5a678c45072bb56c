"""A cloud in memory, behind `css_api.exchange.send`: it knows which POST made which job.

It runs one log backup of a cluster at a time, as the real one does. Parsing, `Date`, paging and
the classification of failures are the product's own: only the wire is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from backups.css_api.errors import NotSent, TransportKind, Unanswered
from backups.css_api.session import Authorization
from backups.css_api.types import ProjectIdentity
from dashboard.http.redact import Secret
from dashboard.http.transport import RawAnswer
from dashboard.http.wire import Timeouts
from tests.timelines.script import Death, Fate, JobScript, PostScript, World

BEGIN = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
PROJECT = "0123456789abcdef0123456789abcdef"
ENTRIES = ("one", "two")
GIVE_UP = 30.0  # seconds without a byte (CSS_READ_TIMEOUT)


class WorkerDied(BaseException):
    """The process that ran the task is gone: nothing of it runs any more, not even `except`."""


@dataclass(slots=True)
class Job:
    """A job of the cloud. `maker` is the POST's number; None: the console's or the schedule's."""

    number: int
    maker: int | None
    auto: bool
    created: float
    script: JobScript

    @property
    def ends(self) -> float:
        return self.created + self.script.seconds

    @property
    def listed(self) -> float:
        return self.created + self.script.listed_after

    @property
    def job_id(self) -> str:
        return f"{self.number:032x}"

    @property
    def record_id(self) -> str:
        return f"record-{self.number:06d}"


@dataclass(slots=True)
class Made:
    """A POST as the cloud, and nobody else, knows it."""

    number: int
    run: int
    attempt: int
    script: PostScript
    baseline_from: float
    sent: float
    baseline_read: bool = True
    until: float = float("inf")  # answered, or given up
    accepted: bool = False
    refused: bool = False  # said no, or nothing left
    pending: float | None = None  # when it will be processed, after we gave up
    job: Job | None = None


@dataclass(slots=True)
class Clock:
    """True time in seconds, and how our clock shows it."""

    world: World
    true: float = 0.0
    ours_off: float = 0.0

    def __post_init__(self) -> None:
        self.true = self.world.phase

    def ours(self) -> datetime:
        return BEGIN + timedelta(seconds=self.true + self.ours_off)

    def stamp(self, true: float) -> datetime:
        """A time by the clock that stamps jobs."""
        return BEGIN + timedelta(seconds=true + self.world.cloud_offset)

    def date(self) -> datetime | None:
        """`Date` of an answer that is given now."""
        if self.world.date == "missing":
            return None
        off = self.world.date_offset if self.world.date == "wrong" else 0.0
        return (self.stamp(self.true) + timedelta(seconds=off)).replace(microsecond=0)


@dataclass(slots=True)
class Cloud:
    """One cluster of one project.

    Args:
        clock: of the timeline.
        scripts: what becomes of POSTs, in their order; of more than these all is well.
        wait: lets true time pass to a moment, and whatever happens until then happen.
        sender: the (run, attempt) on whose behalf the running task sends.
    """

    clock: Clock
    cluster_id: str
    scripts: tuple[PostScript, ...]
    wait: Callable[[float], None]
    sender: Callable[[], tuple[int, int]]
    jobs: list[Job] = field(default_factory=list)
    posts: list[Made] = field(default_factory=list)
    unreadable_until: float = -1.0
    last_read: float = 0.0
    readable: bool = True
    reads: list[float] = field(default_factory=list)
    changed: Callable[[float], None] = lambda at: None
    first_job: int = 1

    # -- what happens in it --------------------------------------------------------------------

    def running(self) -> Job | None:
        now = self.clock.true
        return next((job for job in self.jobs if job.created <= now < job.ends), None)

    def start(
        self, script: JobScript, *, auto: bool = False, maker: int | None = None
    ) -> Job | None:
        """Start a job now; None where one is running."""
        if self.running():
            return None
        job = Job(self.first_job + len(self.jobs), maker, auto, self.clock.true, script)
        self.jobs.append(job)
        for at in (job.listed, job.ends, job.created + script.id_after):
            self.changed(at)
        return job

    def process(self, post: Made) -> bool:
        """Do what a POST asks for; False where a job is running."""
        post.pending = None
        post.job = self.start(post.script.job, maker=post.number)
        return post.job is not None

    def process_late(self) -> None:
        """Process what has lain about until now."""
        for post in self.posts:
            if post.pending is not None and post.pending <= self.clock.true:
                self.process(post)

    def shown(self) -> tuple[int, int, int, bool]:
        """What a reading would show, in short."""
        now = self.clock.true
        listed = [job for job in self.jobs if job.listed <= now]
        ended = sum(job.ends <= now for job in listed)
        named = sum(job.created + job.script.id_after <= now for job in listed)
        return len(listed), ended, named, now < self.unreadable_until

    # -- the wire ------------------------------------------------------------------------------

    def send(self, session: Any, method: str, url: str, **_kept: Any) -> RawAnswer:
        """In place of `css_api.transport.send`."""
        path = url.partition("/clusters/")[2]
        if method == "POST":
            return self._collect()
        if path.partition("?")[0].endswith("/logs/records"):
            self.wait(self.clock.true + 0.05)
            self.readable = self.clock.true >= self.unreadable_until
            if not self.readable:
                return self._answer(500, b"{}")
            self.last_read = self.clock.true
            self.reads.append(self.clock.true)
            return self._answer(200, json.dumps(self._records()).encode())
        if path.endswith("/logs/settings"):
            found = {
                "logConfiguration": {
                    "logSwitch": True,
                    "obsBucket": "b",
                    "agency": "a",
                    "basePath": "p",
                }
            }
            return self._answer(200, json.dumps(found).encode())
        detail = {
            "id": self.cluster_id,
            "name": "c",
            "status": "200",
            "actions": [],
            "instances": [],
        }
        return self._answer(200, json.dumps(detail).encode())

    def _collect(self) -> RawAnswer:
        number = len(self.posts)
        script = self.scripts[number] if number < len(self.scripts) else PostScript()
        run, attempt = self.sender()
        since = self.last_read if self.readable else self.clock.true
        post = Made(number, run, attempt, script, since, self.clock.true, self.readable)
        self.posts.append(post)
        try:
            return self._delivered(post, script)
        finally:
            post.until = min(post.until, self.clock.true)

    def _delivered(self, post: Made, script: PostScript) -> RawAnswer:
        fate = script.fate
        if script.death is Death.FENCED:
            raise WorkerDied
        if fate is Fate.NOT_SENT:
            post.refused = True
            raise NotSent(TransportKind.REFUSED, "refused", 1)
        dies = script.death is Death.SENT
        if fate in (Fate.TIMEOUT, Fate.TIMEOUT_LIE, Fate.TIMEOUT_LATE):
            began = self.clock.true
            if fate is Fate.TIMEOUT_LIE:
                self.wait(began + script.arrives)
                self.process(post)
                self.changed(self.clock.true)
            if dies:
                self._late(post, fate, script)
                raise WorkerDied
            self.wait(began + GIVE_UP)
            self._late(post, fate, script)
            raise Unanswered(TransportKind.READ_TIMEOUT, "did not answer", 30_000)
        if dies and fate in (Fate.RESET_LATE, Fate.FAILED_LATE, Fate.BUSY_LATE):
            self._late(post, fate, script)
            raise WorkerDied
        if dies and not script.silent:
            # at once: what it had sent is processed without it
            post.pending = self.clock.true + script.arrives
            if fate in (Fate.OK, Fate.BUSY_LIE, Fate.FAILED_LIE, Fate.RESET_AFTER):
                self.changed(post.pending)
            else:
                post.pending = None
            raise WorkerDied
        self.wait(self.clock.true + script.arrives)
        taken = fate in (Fate.OK, Fate.BUSY_LIE, Fate.FAILED_LIE, Fate.RESET_AFTER)
        started = self.process(post) if taken else False
        if dies:
            raise WorkerDied
        self.wait(self.clock.true + script.answers)
        if fate in (Fate.RESET_BEFORE, Fate.RESET_AFTER, Fate.RESET_LATE):
            self._late(post, fate, script)
            raise Unanswered(TransportKind.RESET, "closed", 1)
        if fate is Fate.OK:
            if started:
                post.accepted = True
                return self._answer(200, b"")
            post.refused = True
            return self._answer(409, b'{"errCode":"CSS.3004","externalMessage":"running"}')
        self._late(post, fate, script)
        status = {Fate.REFUSED: 400, Fate.THROTTLED: 429}
        status |= dict.fromkeys((Fate.BUSY, Fate.BUSY_LIE, Fate.BUSY_LATE), 503)
        post.refused = fate in (Fate.REFUSED, Fate.THROTTLED)
        return self._answer(status.get(fate, 504), b"")

    def _late(self, post: Made, fate: Fate, script: PostScript) -> None:
        if fate in (Fate.FAILED_LATE, Fate.BUSY_LATE, Fate.RESET_LATE, Fate.TIMEOUT_LATE):
            post.pending = self.clock.true + script.late
            self.changed(post.pending)

    def _answer(self, status: int, body: bytes) -> RawAnswer:
        headers = {"X-Request-Id": "r"}
        if (date := self.clock.date()) is not None:
            headers["Date"] = format_datetime(date, usegmt=True)
        return RawAnswer(status, headers, body, oversized=False, cut_short=False, duration_ms=1)

    def _records(self) -> dict[str, Any]:
        now = self.clock.true
        rows = [self._row(job) for job in reversed(self.jobs) if job.listed <= now]
        return {"clusterLogRecord": rows, "totalSize": len(rows)}

    def _row(self, job: Job) -> dict[str, Any]:
        now = self.clock.true
        ended = job.ends <= now
        status = ("SUCCESS" if job.script.ok else "FAIL") if ended else "RUNNING"
        return {
            "id": job.record_id,
            "clusterId": self.cluster_id,
            "createAt": self._millis(job.created),
            "logPath": "b/p",
            "status": status,
            "finishedAt": self._millis(job.ends) if ended else None,
            "jobTypes": "Auto" if job.auto else "Manual",
            "failedMsg": "it failed" if status == "FAIL" else None,
            "jobId": job.job_id if now >= job.created + job.script.id_after else None,
        }

    def _millis(self, true: float) -> int:
        at = self.clock.stamp(true)
        if self.clock.world.seconds_only:
            at = at.replace(microsecond=0)
        return round(at.timestamp() * 1000)


class Connection:
    """In place of `css_api.session.CloudConnection`: signed in for ever."""

    def __init__(self, entry: str) -> None:
        self.timeouts = Timeouts()
        self.user_agent = "timelines"
        self.verify, self.cert, self.secrets = True, None, ()
        self._identity = ProjectIdentity(
            entry, "r", PROJECT, "p", f"https://css.example.com/v1.0/{PROJECT}"
        )

    def identity(self) -> ProjectIdentity:
        return self._identity

    def authorization(self, rejected: object = None) -> Authorization:
        return Authorization(Secret("token"), self._identity)

    def http(self) -> None:
        return None


CONNECTIONS = {entry: Connection(entry) for entry in ENTRIES}


def connect(cloud: str, region: str, **_kept: object) -> Connection:
    """In place of `css_api.session.connect`."""
    return CONNECTIONS[cloud]
