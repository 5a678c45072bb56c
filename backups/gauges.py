"""Gauges of `/metrics`, read from the database at each scrape: a function a subject.

METRICS_GAUGES in the settings names the functions. Every value of a label comes from a list of our
own, or is bounded: a scrape never grows with the number of clusters or runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client import Metric

from backups import heartbeats, run_events, work  # noqa: F401 - run_events adds its counters
from backups.choices import ACTIVE, ItemState, Protection, RunState, Work
from backups.guide.codes import CODES
from backups.models import (
    BackupRun,
    Batch,
    BatchItem,
    Cluster,
    Connection,
    Project,
    RunSeal,
)
from backups.models.cluster import protection_q
from dashboard.audit.models import Verification
from dashboard.metrics.endpoint import gauge
from dashboard.version import VERSION

MOST_PROJECTS = 200
OTHER = "other"
DAY = timedelta(days=1)


def product() -> Iterator[Metric]:
    """The version."""
    info = gauge("info", "The version that answers; always 1.", "version")
    info.add_metric([VERSION], 1)
    yield info


def runs() -> Iterator[Metric]:
    """Runs that are active, and those of the last day by what became of them."""
    now = timezone.now()
    active = gauge("runs_active", "Log backups that have not ended.", "state")
    states = BackupRun.objects.filter(state__in=sorted(ACTIVE)).order_by()
    found = dict(states.values_list("state").annotate(n=Count("pk")))
    for state in sorted(ACTIVE):
        active.add_metric([state], found.get(state, 0))
    yield active

    queued = BackupRun.objects.filter(state=RunState.QUEUED)
    first = queued.aggregate(asked=Min("requested_at"), due=Min("not_before"))
    oldest = gauge(
        "queued_run_oldest_age_seconds", "Since the oldest queued log backup was requested."
    )
    oldest.add_metric([], _age(first["asked"], now))
    yield oldest
    overdue = gauge(
        "queued_run_longest_due_seconds",
        "For how long a queued log backup could have been sent; waiting on purpose does not count.",
    )
    overdue.add_metric([], _age(first["due"], now))
    yield overdue

    recent = gauge(
        "runs_last_day",
        "Log backups requested within 24 hours, by state, outcome, known error code and trigger.",
        *("state", "outcome", "error_code", "trigger"),
    )
    rows = BackupRun.objects.filter(requested_at__gte=now - DAY).order_by()
    counts: Counter[tuple[str, ...]] = Counter()
    columns = ("state", "outcome", "error_code", "trigger")
    for *key, number in rows.values_list(*columns).annotate(n=Count("pk")):
        state, outcome, code, trigger = key
        known = code if code in CODES or not code else OTHER
        counts[state, outcome or "none", known or "none", trigger] += number
    for labels, number in sorted(counts.items()):
        recent.add_metric(list(labels), number)
    yield recent


def clusters() -> Iterator[Metric]:
    """Clusters by project and protection."""
    now = timezone.now()
    family = gauge(
        "clusters",
        "Watched clusters, by project (200 have a label, the rest is “other”) and protection.",
        *("project", "protection"),
    )
    names = {pk: str(project) for pk, project in _first_projects().items()}
    by = {str(each): Count("pk", filter=protection_q(each, now)) for each in Protection}
    totals: dict[str, Counter[str]] = {}
    watched = Cluster.objects.watched().order_by().values("project").annotate(**by)
    for pk, *numbers in watched.values_list("project", *by):
        total = totals.setdefault(names.get(pk, OTHER), Counter())
        total.update(dict(zip(by, numbers, strict=True)))
    for name, total in sorted(totals.items()):
        for each in by:
            family.add_metric([name, each], total[each])
    yield family


def _first_projects() -> dict[int, Project]:
    return {project.pk: project for project in Project.objects.order_by("pk")[:MOST_PROJECTS]}


def batches() -> Iterator[Metric]:
    """Open batches, and what of them waits."""
    open_ = gauge("batches_open", "Batches that have not ended.")
    open_.add_metric([], Batch.objects.open().count())
    yield open_
    waiting = gauge("batch_items_waiting", "Clusters of batches that wait for their turn.", "work")
    items = BatchItem.objects.filter(state=ItemState.WAITING).order_by()
    found = dict(items.values_list("batch__work").annotate(n=Count("pk")))
    for each in Work:
        waiting.add_metric([each], found.get(each, 0))
    yield waiting


def connections() -> Iterator[Metric]:
    """Connections to clouds, and what is wrong with those that fail."""
    connected = Connection.objects.connected()
    total = gauge("connections", "Connections to clouds that are synchronised.")
    total.add_metric([], connected.count())
    yield total
    failing = gauge(
        "connections_failing", "Connections whose last synchronisation failed, by fault.", "fault"
    )
    found = connected.exclude(sync_error="").order_by()
    for fault, number in found.values_list("sync_fault").annotate(n=Count("pk")):
        failing.add_metric([fault or OTHER], number)
    yield failing


def work_flow() -> Iterator[Metric]:
    """Whether workers live, sweep and get messages, as seen from this process."""
    alive = gauge("workers_alive", "Worker processes with a fresh heartbeat.")
    fresh = [each for each in heartbeats.worker_silences() if each < settings.HEARTBEAT_STALE_AFTER]
    alive.add_metric([], len(fresh))
    yield alive
    ages = {
        "sweep_age_seconds": ("Since the last sweep of a worker.", heartbeats.sweep_age()),
        "message_age_seconds": ("Since a worker got a message.", work.last_message()),
    }
    for name, (documentation, age) in ages.items():
        family = gauge(name, documentation)
        if age is not None:  # it has happened
            family.add_metric([], age)
        yield family
    trouble = gauge(
        "work_trouble", "1: work does not flow for this reason; the pages have a banner.", "kind"
    )
    found = {each.kind for each in work.troubles()}
    for kind in ("worker", "scheduler", "broker", "instance", "flow"):
        trouble.add_metric([kind], kind in found)
    yield trouble


def evidence() -> Iterator[Metric]:
    """Seals that are pending, and the last verification of the audit trail."""
    now = timezone.now()
    pending = RunSeal.objects.filter(batch=None).aggregate(n=Count("pk"), first=Min("made_at"))
    seals = gauge("seals_pending", "Ended log backups that are not sealed yet.")
    seals.add_metric([], pending["n"])
    yield seals
    oldest = gauge("seal_pending_oldest_age_seconds", "Since the oldest of them ended.")
    oldest.add_metric([], _age(pending["first"], now))
    yield oldest
    done = Verification.objects.filter(finished_at__isnull=False).order_by("-pk").first()
    age = gauge("audit_verification_age_seconds", "Since the audit trail was verified last.")
    intact = gauge("audit_intact", "1: the last verification found the audit trail intact.")
    missing = gauge("audit_guards_intact", "1: it found all database triggers in place.")
    if done is not None:
        age.add_metric([], _age(done.finished_at, now))
        intact.add_metric([], done.result == Verification.Result.INTACT)
        missing.add_metric([], not done.guards_missing)
    yield from (age, intact, missing)


def _age(at: datetime | None, now: datetime) -> float:
    """Seconds since a moment; 0 without one, or if it lies ahead."""
    return 0.0 if at is None else max((now - at).total_seconds(), 0.0)
