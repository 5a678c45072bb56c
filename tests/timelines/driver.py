"""Plays a timeline through the real tasks and services, on the real database.

Replaced are the wire (`cloud.Cloud.send`, signing in), the clock (`django.utils.timezone.now`) and
the broker: what would be published is run here, one task after the other. While a request is under
way the rest of the world goes on: other workers' tasks run inside the wait for its answer.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from heapq import heappop, heappush
from typing import Any
from unittest import mock

from django.db import connection

from backups import tasks
from backups.choices import ACTIVE, CORRECTABLE, Ruling, RunState, Trigger
from backups.models import BackupRun, Cluster, Heartbeat, Project
from backups.services.runs import due_times, sweeping
from backups.services.runs.requests import Requester, request_backup
from backups.services.runs.settling import CannotSettle, settle_by_hand
from dashboard.audit.trail import Actor
from dashboard.celery import app
from tests.timelines.cloud import ENTRIES, PROJECT, Clock, Cloud, WorkerDied, connect
from tests.timelines.script import Act, Death, Kind, PostScript, Timeline

ALIVE = "timelines:1:00000000"  # a worker that has a heartbeat
FAR = datetime(2100, 1, 1, tzinfo=UTC)
ALWAYS = 1e12  # as the product has ticked
# When, after a request has ended, the sweeper looks: around each limit that the services have.
LOOKS = (1.2, 31.0, 128.0)
_clusters = itertools.count(1)
_silent = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the history at some moment."""

    pk: int
    state: str
    job_id: str | None
    record_id: str
    trigger: str
    outcome: str
    evidence: str | None
    attempt: int
    requested_by_name: str
    due: datetime | None  # when its next step is, as long as it is active


@dataclass(slots=True)
class Seen:
    """A change of a run's state, with the true time at which it was seen first."""

    at: float
    row: Row


@dataclass
class Driver:
    """One timeline being played."""

    timeline: Timeline
    clock: Clock = field(init=False)
    cloud: Cloud = field(init=False)
    clusters: list[Cluster] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        world = self.timeline.world
        number = next(_clusters)
        self.clock = Clock(world)
        self.cloud = Cloud(
            self.clock,
            f"cluster-{number}",
            self.timeline.posts,
            self.wait,
            self._sender,
            changed=self.look_at,
            first_job=number * 1000,
        )
        self._agenda: list[tuple[float, int, Any]] = []
        self._order = itertools.count()
        self._looks: set[int] = set()
        self._checked: Any = None
        self._over = False
        self._queue: deque[tuple[Any, tuple[Any, ...]]] = deque()
        self._working: list[tuple[int, str]] = []  # (run, worker), innermost last
        self._states: dict[int, tuple[str, str | None]] = {}
        self._dies_before_judging: set[int] = set()
        self.offsets.append(0.0)

    # -- playing -------------------------------------------------------------------------------

    def play(self) -> None:
        """Play the timeline to its end, and on until nothing changes any more."""
        with self._in_its_world():
            self._register()
            at = self.clock.true
            for act in self.timeline.acts:
                at += act.after
                self._at(at, lambda act=act: self._do(act))
            self.wait(at)
            self._run_out()
            self._see()
            Cluster.objects.filter(pk__in=self._keys).update(archived_at=FAR)
            BackupRun.objects.filter(cluster__in=self._keys, state__in=ACTIVE).update(
                next_check_at=None, not_before=FAR, claimed_at=FAR
            )

    def wait(self, until: float) -> None:
        """Let true time pass, and what is due in it happen."""
        while self._agenda and self._agenda[0][0] <= until:
            at, _order, action = heappop(self._agenda)
            self.clock.true = max(self.clock.true, at)
            action()
        self.clock.true = max(self.clock.true, until)

    def look_at(self, at: float) -> None:
        """Have the sweeper look shortly after a moment."""
        moment = max(at, self.clock.true) + 0.4
        if (slot := round(moment)) not in self._looks:
            self._looks.add(slot)
            self._at(moment, self.look)

    def look(self) -> None:
        """What the ticker and the workers do at this moment."""
        self.count += 1
        assert self.count < 500, (self.clock.true, self.rows()[-1], self.cloud.posts[-3:])
        self.cloud.process_late()
        self._sweep()
        self._drain()

    def _sweep(self) -> None:
        """The steps of `sweeping.sweep` for which something is due: two queries in place of 15."""
        now = self.clock.ours()
        due = {row.state for row in self._see() if row.due is None or row.due <= now}
        if RunState.SENDING in due:
            sweeping.take_over_dead_claims()
            sweeping.take_over_lost_claims()
        if RunState.QUEUED in due:
            sweeping.dispatch_send(sweeping.due_for_sending(sweeping.BATCH))
        if RunState.ACCEPTED in due or RunState.UNKNOWN in due:
            sweeping.dispatch_follow(sweeping.due_for_check(sweeping.BATCH))
        if self._over:  # the checks at the end see the same
            return
        # a check that would find what the last one found is left out
        news = (self.cloud.shown(), self._active())
        if news != self._checked and self._check_is_due(now):
            self._checked = news
            sweeping.dispatch_checks()

    def _pull_in(self) -> None:
        """`due_times.pull_in` for what this timeline is about; others are frozen in the future."""
        for each in due_times._columns():
            mine = {BackupRun: "cluster__in", Cluster: "pk__in"}.get(each.rows.model)
            if mine is not None:
                due_times._pull_in(replace(each, rows=each.rows.filter(**{mine: self._keys})))

    def _check_is_due(self, now: datetime) -> bool:
        return any(
            as_time(at) <= now
            for (at,) in _select(
                "SELECT check_due_at FROM backups_cluster WHERE cluster_id = %s",
                self.cloud.cluster_id,
            )
        )

    def _run_out(self) -> None:
        cloud, self._over = self.cloud, True
        for pause in (5.0, 140.0, 700.0, 1300.0, 1300.0):
            while self._agenda:
                self.wait(self._agenda[0][0])
            ends = [
                max(job.listed, job.ends, job.created + job.script.id_after) for job in cloud.jobs
            ]
            self.wait(max([self.clock.true, cloud.unreadable_until, *ends]) + pause)
            self.look()
            if not self._agenda and not self._active():
                break
        self.wait(self.clock.true + 700.0)
        # what is read last is the whole truth: the check that follows it knows all that can be known
        for _ in range(2):
            before = self.rows()
            if self._knows_all(before):
                break
            self._check()
            if self.rows() == before:
                break

    def _knows_all(self, rows: list[Row]) -> bool:
        """Whether each job of the cloud has its row: then no check finds anything."""
        known = {key for row in rows for key in (row.job_id, row.record_id) if key}
        return all({job.job_id, job.record_id} & known for job in self.cloud.jobs)

    def _check(self) -> None:
        from backups.tasks import check_cluster

        for cluster in self.clusters:
            self._run(check_cluster.run, cluster.pk)
        self._drain()

    def _active(self) -> bool:
        return any(state in ACTIVE for state, _job in self._states.values())

    def _do(self, act: Act) -> None:
        if act.kind is Kind.REQUEST:
            cluster = self.clusters[act.entry % len(self.clusters)]
            request_backup(cluster, Requester("anna", Trigger.BUTTON))
            self._drain()
        elif act.kind in (Kind.CONSOLE, Kind.SCHEDULE):
            self.cloud.process_late()
            self.cloud.start(act.job, auto=act.kind is Kind.SCHEDULE)
        elif act.kind is Kind.STEP:
            self.clock.ours_off += act.amount
            self.offsets.append(self.clock.ours_off)
            self._pull_in()
        elif act.kind is Kind.OUTAGE:
            self.cloud.unreadable_until = self.clock.true + act.amount
            self.look_at(self.cloud.unreadable_until)
        elif act.kind is Kind.CHECK:
            self._check()
        else:
            self._settle(Ruling.NOT_STARTED if act.amount else Ruling.STARTED)

    def _settle(self, ruling: Ruling) -> None:
        for run in BackupRun.objects.filter(cluster__in=self._keys, state=RunState.UNKNOWN):
            try:
                settle_by_hand(run, ruling, actor=Actor("admin"), reason="I looked")
            except CannotSettle:
                continue
        self._see()

    def figures(self) -> dict[str, int]:
        """What has been seen in this timeline, counted."""
        found: Counter[str] = Counter()
        states: dict[int, str] = {}
        for seen in self.seen:
            found["corrected"] += states.get(seen.row.pk) in CORRECTABLE
            states[seen.row.pk] = seen.row.state
        for row in self.rows():
            found[row.evidence or row.state] += 1
            found["imported"] += row.trigger == "cloud"
        return found

    # -- workers -------------------------------------------------------------------------------

    def _publish(self, name: str, args: Iterable[int] = (), **_options: Any) -> None:
        self._queue.append((getattr(tasks, name.removeprefix("backups.tasks.")), tuple(args)))

    def _drain(self) -> None:
        while self._queue:
            task, args = self._queue.popleft()
            if task.name.endswith("send_run"):
                self._send(task, args)
            else:
                self._run(task.run, *args)
        self._see()

    def _send(self, task: Any, args: tuple[Any, ...]) -> None:
        number = len(self.cloud.posts)
        scripts = self.timeline.posts
        script = scripts[number] if number < len(scripts) else PostScript()
        mortal = script.silent or script.death is not Death.NOWHERE
        worker = f"timelines:2:{next(_silent):08x}" if mortal else ALIVE
        self._working.append((args[0], worker))
        before = len(self.cloud.posts)
        try:
            if script.death is Death.CLAIMED and number not in self._judged_dead:
                self._judged_dead.add(number)
                self._dies_at_the_baseline = True
            self._run(task.run, *args)
        finally:
            self._working.pop()
        if len(self.cloud.posts) > before:
            for after in LOOKS:
                self.look_at(self.clock.true + after)
        else:
            self.look_at(self.clock.true + 13)
            self.look_at(self.clock.true + 30)

    def _run(self, work: Any, *args: Any) -> None:
        try:
            work(*args)
        except WorkerDied:
            for run, worker in self._working[-1:]:
                if worker == ALIVE:  # another's request took the fate that was meant for it
                    BackupRun.objects.filter(pk=run, claimed_by=ALIVE).update(
                        claimed_by=f"timelines:2:{next(_silent):08x}"
                    )
            for after in (14.0, 30.0):
                self.look_at(self.clock.true + after)

    def _sender(self) -> tuple[int, int]:
        run = self._working[-1][0]
        return run, BackupRun.objects.values_list("attempt", flat=True).get(pk=run)

    def _wire(self, *args: Any, **kwargs: Any) -> Any:
        """The wire, for the death that comes before the request."""
        if self._working and self._dies_at_the_baseline and args[1] == "GET":
            self._dies_at_the_baseline = False
            raise WorkerDied
        return self.cloud.send(*args, **kwargs)

    _dies_at_the_baseline = False

    def _judged(self, apply_result: Any) -> Any:
        """`sending.apply_result`, for the death that comes between the answer and its judgement."""

        def apply(*args: Any, **kwargs: Any) -> Any:
            post = self.cloud.posts[-1] if self.cloud.posts else None
            mine = [p for p in self.cloud.posts if p.run == args[0].pk]
            post = mine[-1] if mine else post
            if (
                post
                and post.script.death is Death.ANSWERED
                and post.number not in self._judged_dead
            ):
                self._judged_dead.add(post.number)
                raise WorkerDied
            return apply_result(*args, **kwargs)

        return apply

    # -- the world -----------------------------------------------------------------------------

    @property
    def _keys(self) -> list[int]:
        return [cluster.pk for cluster in self.clusters]

    def _at(self, at: float, action: Any) -> None:
        heappush(self._agenda, (at, next(self._order), action))

    def _see(self) -> list[Row]:
        rows = self.rows()
        for row in rows:
            key = (row.state, row.job_id)
            if self._states.get(row.pk) != key:
                self._states[row.pk] = key
                self.seen.append(Seen(self.clock.true, row))
        return rows

    def rows(self) -> list[Row]:
        """The history of this cluster, through every entry."""
        return [
            Row(*row[:-1], due=as_time(row[-1]))
            for row in _select(_rows_sql(), self.cloud.cluster_id)
        ]

    def _register(self) -> None:
        Heartbeat.objects.update_or_create(
            name=ALIVE,
            defaults={
                "kind": "worker",
                "seen_at": FAR,
                "seen_uptime": ALWAYS,
                "started_at": self.clock.ours(),
            },
        )
        entries = ENTRIES if self.timeline.world.two_entries else ENTRIES[:1]
        for entry in entries:
            project, _ = Project.objects.get_or_create(cloud=entry, region="r", project_id=PROJECT)
            self.clusters.append(
                Cluster.objects.create(
                    project=project,
                    cluster_id=self.cloud.cluster_id,
                    name="c",
                    check_due_at=self.clock.ours() + timedelta(seconds=200),
                )
            )

    @contextmanager
    def _in_its_world(self) -> Iterator[None]:
        from backups.services.runs import sending

        self._judged_dead: set[int] = set()
        state = random.getstate()
        random.seed(1)
        with ExitStack() as stack:
            for target, value in (
                ("django.utils.timezone.now", self.clock.ours),
                # the ticker never rests, and goes by a clock that is not stepped
                ("backups.uptime.now", self._ticked),
                ("backups.uptime.stamp", self._ticked),
                ("backups.css_api.exchange.send", self._wire),
                ("backups.css_api.session.connect", connect),
                ("backups.heartbeats.process_name", self._name),
                ("backups.services.runs.sending.apply_result", self._judged(sending.apply_result)),
            ):
                stack.enter_context(mock.patch(target, value))
            stack.enter_context(mock.patch.object(app, "send_task", self._publish))
            yield
        random.setstate(state)

    def _ticked(self) -> float:
        return self.clock.true

    def _name(self) -> str:
        return self._working[-1][1] if self._working else ALIVE


@cache
def _rows_sql() -> str:
    # written out: this is asked hundreds of thousands of times, and takes Django ten times as long
    names = {field.column for field in BackupRun._meta.concrete_fields}
    evidence = "evidence" if "evidence" in names else "NULL"
    active = ", ".join(f"'{state}'" for state in sorted(ACTIVE))
    return (
        "SELECT id, state, job_id, record_id, trigger, outcome, "
        f"{evidence}, attempt, requested_by_name, CASE WHEN state NOT IN ({active}) THEN NULL "
        f"WHEN state = '{RunState.SENDING}' THEN claimed_at "
        f"WHEN state = '{RunState.QUEUED}' THEN not_before ELSE next_check_at END "
        "FROM backups_backuprun WHERE cluster_cloud_id = %s ORDER BY id"
    )


def _select(sql: str, *params: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def as_time(value: Any) -> Any:
    """A time as the database's driver gives it: SQLite's has no zone, or is a text."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value
