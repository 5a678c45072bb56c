"""One chaos run, from the first process to the data for the checks."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.client import ControlError

from . import faults
from .clicks import Batcher, BatchResult, Clickers, ClickResult, Person, plan
from .stack import REGIONS, Stack, StackError, until
from .trouble import Diary, TroubleMaker

PEOPLE = ("ada", "grace", "hedy")
BATCHER = "joan"  # requests batches, and clicks nothing: whose run it is stays clear
STAMPS = ("ms", "seconds")  # formats of times in records, one per cluster
DARK = 2  # clusters whose records stay unreadable: their runs must say UNKNOWN and why
BATCHES = 2  # of all clusters, requested in the trouble
IN_PEACE = 2  # clusters that are clicked once more after the trouble
FAULT_SHARE = 0.6  # share of the clicks that get a card of the deck
LATEST_END = 150.0  # seconds after the trouble in which every run must end
LATEST_LISTING = 120.0  # seconds in which every late record must be listed
LATEST_CHECK = 90.0  # seconds after that in which every cluster must be checked
LEAST_PAUSE = 5.0  # seconds in which a check that began before the last listing ends
CLICKING_SHARE = 0.9  # share of the time with clicks, so that the last ones meet trouble too


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line; `seconds` is the duration of the trouble."""

    clicks: int
    clusters: int
    seconds: float
    database: str
    seed: int


@dataclass(frozen=True, slots=True)
class Story:
    """What happened, for the checks and the report."""

    answers: list[ClickResult]
    batches: list[BatchResult]
    diary: Diary
    dark: set[str]
    cards: dict[str, int]
    problems: list[str]
    settled_seconds: float


class Scenario:
    """Prepares a stack, runs the clicks and the trouble, and waits for the end.

    Args:
        options: the command line.
        stack: not started yet.
        say: writes a line to the terminal.
    """

    def __init__(self, options: Options, stack: Stack, say: Callable[[str], None]) -> None:
        self._options = options
        self._stack = stack
        self._say = say
        self._rng = random.Random(options.seed)  # noqa: S311 - a plan, no secret
        self._stop = threading.Event()
        self._cards: Counter[str] = Counter()
        self._trouble: TroubleMaker | None = None

    def prepare(self) -> None:
        """Start everything, create tables, users and clusters, sign in. Raises StackError."""
        self._stack.open()
        # From here on this process uses the product's settings and database.
        os.environ.clear()
        os.environ.update(self._stack.environ)
        import django

        django.setup()
        from dashboard.local_run import steps

        steps.migrate()
        steps.collect_static()
        passwords = _make_people((*PEOPLE, BATCHER))
        self._make_clusters()
        self._stack.start_product()
        self.people = {
            name: Person(self._stack.url, name, password) for name, password in passwords.items()
        }

    def _make_clusters(self) -> None:
        from django.core.management import call_command

        from backups.models import Cluster

        control, count = self._stack.control, self._options.clusters
        for number in range(count):
            region = REGIONS[number % len(REGIONS)]
            seconds = round(self._rng.uniform(1, 3), 1)
            control.add_cluster(
                f"chaos-{number + 1:04}",
                region=region,
                job_seconds=seconds,
                stamps=STAMPS[number // len(REGIONS) % len(STAMPS)],
            )
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            call_command("sync_clusters", stdout=nowhere)
        self._cloud_ids = dict(Cluster.objects.order_by("pk").values_list("pk", "cluster_id"))
        if len(self._cloud_ids) != count:
            raise StackError(f"{len(self._cloud_ids)} of {count} clusters were registered")
        self._dark = set(self._rng.sample(sorted(self._cloud_ids), min(DARK, count // 4)))
        for pk in self._dark:
            faults.darken(control, self._cloud_ids[pk])

    def play(self) -> Story:
        """Run clicks and trouble, then wait without trouble until every run has ended.

        Each wait has a time limit, after which the checks find what has not ended.
        """
        options = self._options
        cloud_ids = [c for pk, c in self._cloud_ids.items() if pk not in self._dark]
        self._trouble = trouble = TroubleMaker(
            self._stack, options.seed, cloud_ids, _claim_holders, _ticking
        )
        clicks = plan(
            self._rng,
            options.clicks,
            options.seconds * CLICKING_SHARE,
            list(self._cloud_ids),
            PEOPLE,
        )
        self._deck = faults.deal(self._rng, _settle_grace())
        clickers = Clickers(self.people, self._lay_a_card, self._stop)
        keys = [f"{self._rng.getrandbits(96):024x}" for _ in range(BATCHES)]
        pause = options.seconds * CLICKING_SHARE / BATCHES
        batcher = Batcher(self.people[BATCHER], keys, pause, self._stop)
        trouble.start(options.seconds)
        batcher.start()
        clickers.carry_out(clicks)
        batcher.join()
        trouble.finish()
        self._say("trouble is over: everything is healed, and the runs are awaited")
        self._heal()
        began = time.monotonic()
        until(lambda: not _unfinished(self._dark), LATEST_END)
        answers = clickers.answers + self._click_in_peace()
        until(lambda: not _unfinished(self._dark), LATEST_END)
        self._await_simulator()
        self._await_late_evidence()
        return Story(
            answers=answers,
            batches=batcher.results,
            diary=trouble.diary,
            dark={self._cloud_ids[pk] for pk in self._dark},
            cards=dict(sorted(self._cards.items())),
            problems=trouble.problems,
            settled_seconds=time.monotonic() - began,
        )

    def stop(self) -> None:
        """End the threads; the caller stops the stack."""
        self._stop.set()
        if self._trouble is not None:
            self._trouble.stop()

    def _lay_a_card(self, cluster: int) -> None:
        """Enable faults of the simulator directly before a click, for most clicks."""
        if cluster in self._dark or self._rng.random() >= FAULT_SHARE:
            return
        card = next(self._deck)
        card.play(self._stack.control, self._cloud_ids[cluster])
        self._cards[card.name] += 1

    def _click_in_peace(self) -> list[ClickResult]:
        """Click without other trouble, with jobs that are listed after their runs have ended.

        During the trouble it is a matter of chance whether such a job can be distinguished from
        those of other requests. Here it can, so every chaos run has runs to correct.
        """
        card = faults.accepted_and_listed_too_late(self._rng, _settle_grace())

        def lay(cluster: int) -> None:
            card.play(self._stack.control, self._cloud_ids[cluster])
            self._cards[card.name] += 1

        lit = sorted(set(self._cloud_ids) - self._dark)[:IN_PEACE]
        clickers = Clickers(self.people, lay, self._stop)
        clickers.carry_out(plan(self._rng, len(lit), 0.0, lit, PEOPLE))
        return clickers.answers

    def _heal(self) -> None:
        """Remove all faults except those of the dark clusters, and end jobs that never would."""
        from django.db import connection

        connection.close()  # it may have been opened before a database outage
        control = self._stack.control
        self._stack.heal()
        for region in REGIONS[1:]:
            control.set_listening(region, listening=True)
        control.clear_faults()
        for pk, cloud_id in self._cloud_ids.items():
            if pk in self._dark:
                continue
            control.clear_faults(cloud_id)
            control.end_jobs(cloud_id)

    def _await_simulator(self) -> None:
        """Wait until no request is under way and no job is running, so that the ledger is final."""

        def quiet() -> bool:
            try:
                ledger = self._stack.control.ledger(endpoint="collect")
                jobs = [job for each in self._stack.control.clusters() for job in each.jobs]
            except ControlError:
                return False
            under_way = any(e.ending == "in_progress" or e.effect_pending for e in ledger)
            return not under_way and all(job.status != "RUNNING" for job in jobs)

        until(quiet, 30.0)

    def _await_late_evidence(self) -> None:
        """Wait for the last late record, and for a check of every cluster after it.

        By then, runs that ended without their jobs have been corrected, so their state is final.
        """
        self._say("records that come late are awaited, and what the product makes of them")
        control = self._stack.control

        def listed() -> bool:
            jobs = [job for each in control.clusters() for job in each.jobs]
            return not any(job.listed_in for job in jobs)

        if not until(listed, LATEST_LISTING):
            raise StackError("the simulator still hides records")
        time.sleep(LEAST_PAUSE)
        lit = set(self._cloud_ids) - self._dark
        if not until(_checked_since(lit), LATEST_CHECK):
            self._trouble_problem("not every cluster was checked after the last late record")

    def _trouble_problem(self, text: str) -> None:
        if self._trouble is not None:
            self._trouble.problems.append(text)


def _make_people(names: Sequence[str]) -> dict[str, str]:
    import secrets

    from django.contrib.auth import get_user_model

    from dashboard.accounts.access import Role
    from dashboard.accounts.models import Grant

    passwords = {name: secrets.token_urlsafe(12) for name in names}
    for name, password in passwords.items():
        user = get_user_model().objects.create_user(name, password=password)
        Grant.objects.create(user=user, role=Role.OPERATOR, granted_by_name="chaos")
    return passwords


def _claim_holders() -> list[int]:
    """Process ids in the claims of runs that are being sent now."""
    from django.db import DatabaseError, InterfaceError, connection

    from backups.models import BackupRun

    try:
        names = list(BackupRun.objects.filter(state="sending").values_list("claimed_by", flat=True))
    except (DatabaseError, InterfaceError):
        connection.close()
        return []
    return [_pid(name) for name in names]


def _ticking() -> int:
    """The process id of the worker that ticks, 0 if not known."""
    from django.db import DatabaseError, InterfaceError, connection

    from backups.models import Ticker

    try:
        return _pid(Ticker.objects.values_list("holder", flat=True).first() or "")
    except (DatabaseError, InterfaceError):
        connection.close()
        return 0


def _pid(name: str) -> int:
    """The process id in "host:pid:random", otherwise 0."""
    parts = name.rsplit(":", 2)
    return int(parts[1]) if len(parts) == 3 else 0


def _settle_grace() -> float:
    from django.conf import settings

    return float(settings.BACKUP_SETTLE_GRACE)


def _checked_since(clusters: set[int]) -> Callable[[], bool]:
    """Return a condition: each of these clusters has been checked after this call."""
    from django.utils import timezone

    from backups.models import Cluster

    since = timezone.now()
    waiting = Cluster.objects.filter(pk__in=clusters).exclude(checked_at__gt=since)
    return lambda: not waiting.exists()


def _unfinished(dark: set[int]) -> int:
    """Number of runs that may still move: active ones, except UNKNOWN on a dark cluster.

    Waiting items of batches become such runs.
    """
    from backups.choices import ACTIVE
    from backups.models import BackupRun, BatchItem

    if waiting := BatchItem.objects.filter(state="waiting").count():
        return waiting
    active = BackupRun.objects.filter(state__in=list(ACTIVE))
    return active.exclude(state="unknown", cluster__in=list(dark)).count()
