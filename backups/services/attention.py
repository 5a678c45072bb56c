"""What needs attention, worst first: unprotected clusters, failed backups, failed connections."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, Q, Subquery, TextChoices
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.choices import Protection, Readiness, RunState
from backups.models import BackupRun, Cluster, Connection
from backups.models.cluster import (
    WORST_FIRST,
    ClusterQuerySet,
    attach_latest_runs,
    protection_at,
    protection_q,
)
from dashboard.accounts.models import User

from .result_cache import COUNTS_TIMEOUT, cached

MOST_SHOWN = 20

# Outcomes without a verified backup.
BAD_ENDS: tuple[RunState, ...] = (
    RunState.REJECTED,
    RunState.FAILED,
    RunState.NOT_STARTED,
    RunState.UNVERIFIED,
    RunState.UNKNOWN,
)
# A user has to act before a backup can succeed. BUSY passes by itself.
BLOCKED: tuple[Readiness, ...] = (
    Readiness.BACKUP_OFF,
    Readiness.STORAGE_MISSING,
    Readiness.UNAVAILABLE,
)


class Need(TextChoices):
    """Why a cluster needs attention."""

    OVERDUE_FAILING = "overdue_failing", _("Overdue, and the last backup ended badly")
    OVERDUE = "overdue", _("Overdue")
    NEVER_FAILING = "never_failing", _("Never backed up, and the last try ended badly")
    NEVER = "never", _("Never backed up")
    BLOCKED = "blocked", _("Due, and not ready")
    FAILING = "failing", _("The last backup ended badly")


# Worst first, in the order of the protection page.
_RANK = {protection: rank for rank, protection in enumerate(WORST_FIRST)}


@dataclass(frozen=True, slots=True)
class Finding:
    """A cluster that needs attention.

    Attributes:
        need: the worst reason.
        cluster: the cluster, with its project and its latest run.
        run: its last run with a result, if that is a bad one.
        since: when the need began.
        protection: the cluster's protection state.
    """

    need: Need
    cluster: Cluster
    run: BackupRun | None
    since: datetime
    protection: Protection


@dataclass(frozen=True, slots=True)
class Attention:
    """What needs attention.

    Attributes:
        connections: connections whose last synchronisation failed, at most MOST_SHOWN.
        findings: clusters, worst first, at most MOST_SHOWN.
        counts: all clusters by need.
        connection_count: all failed connections.
    """

    connections: list[Connection]
    findings: list[Finding]
    counts: dict[Need, int]
    connection_count: int

    @property
    def total(self) -> int:
        return self.connection_count + sum(self.counts.values())


def needs_attention(user: User, now: datetime | None = None) -> Attention:
    """What needs attention and the user may see; a constant number of queries."""
    now = now or timezone.now()
    watched = Cluster.objects.watched().visible_to(user)
    counts, worst = cached("attention", watched, lambda: _count(watched, now), COUNTS_TIMEOUT)
    failing = Connection.objects.visible_to(user).connected().exclude(sync_error="")
    connections = list(failing.order_by("synced_at", "pk")[: MOST_SHOWN + 1])
    full = len(connections) > MOST_SHOWN
    return Attention(
        connections=connections[:MOST_SHOWN],
        findings=_findings(watched, worst, now),
        counts=counts,
        connection_count=failing.count() if full else len(connections),
    )


def need_of(protection: Protection, readiness: str, last_result: str | None) -> Need | None:
    """Why a cluster needs attention, None where it does not.

    Args:
        protection: its protection state.
        readiness: a value of Readiness.
        last_result: the state of its last run with a result, None where there is none.
    """
    bad = last_result in BAD_ENDS
    if protection is Protection.OVERDUE:
        return Need.OVERDUE_FAILING if bad else Need.OVERDUE
    if protection is Protection.NEVER:
        return Need.NEVER_FAILING if bad else Need.NEVER
    if bad:
        return Need.FAILING
    if protection is Protection.DUE and readiness in BLOCKED:
        return Need.BLOCKED
    return None


def _in_need(watched: ClusterQuerySet, now: datetime) -> ClusterQuerySet:
    """Clusters for which `need_of` returns a need. The subquery runs only where nothing else
    decides."""
    return watched.annotate(last_result=_last_result("state")).filter(
        protection_q(Protection.NEVER, now)
        | protection_q(Protection.OVERDUE, now)
        | (protection_q(Protection.DUE, now) & Q(readiness__in=BLOCKED))
        | Q(last_result__in=BAD_ENDS)
    )


def _last_result(column: str) -> Subquery:
    """A column of the cluster's last run with a result: bad, or verified."""
    runs = BackupRun.objects.filter(
        cluster=OuterRef("pk"), state__in=[*BAD_ENDS, RunState.SUCCEEDED]
    ).order_by("-requested_at", "-id")
    return Subquery(runs.values(column)[:1])


def _count(watched: ClusterQuerySet, now: datetime) -> tuple[dict[Need, int], list[int]]:
    """The number of clusters by need, and the worst ones; one query."""
    columns = ("pk", "name", "readiness", "due_at", "overdue_at", "last_result")
    counts: Counter[Need] = Counter()
    places = []
    rows = _in_need(watched, now).order_by().values_list(*columns)
    for pk, name, readiness, due_at, overdue_at, last_result in rows:
        protection = protection_at(due_at, overdue_at, now)
        if need := need_of(protection, readiness, last_result):
            counts[need] += 1
            # then by the time when the objective is missed
            places.append((_RANK[protection], overdue_at or now, name, pk))
    worst = [place[-1] for place in heapq.nsmallest(MOST_SHOWN, places)]
    return {need: counts[need] for need in Need}, worst


def _findings(watched: ClusterQuerySet, worst: list[int], now: datetime) -> list[Finding]:
    """The current clusters: one that has recovered since the count is left out."""
    clusters = list(
        _in_need(watched.filter(pk__in=worst), now)
        .annotate(result_id=_last_result("pk"))
        .with_latest_run()
        .select_related("project")
    )
    attach_latest_runs(clusters)
    result_ids = {cluster.pk: getattr(cluster, "result_id", None) for cluster in clusters}
    results = BackupRun.objects.in_bulk([pk for pk in result_ids.values() if pk])
    found = []
    for cluster in clusters:
        run = results.get(result_ids[cluster.pk] or 0)
        bad_run = run if run and run.run_state in BAD_ENDS else None
        protection, last_result = cluster.protection(now), run.state if run else None
        if need := need_of(protection, cluster.readiness, last_result):
            since = _since(need, cluster, bad_run)
            found.append(Finding(need, cluster, bad_run, since, protection))
    places = {pk: place for place, pk in enumerate(worst)}
    return sorted(found, key=lambda finding: places[finding.cluster.pk])


def bad_results(clusters: ClusterQuerySet) -> dict[int, BackupRun]:
    """The last run with a result by cluster, if that is a bad one; two queries."""
    ids = clusters.order_by().annotate(result_id=_last_result("pk")).values_list("result_id")
    results = BackupRun.objects.filter(pk__in=[pk for (pk,) in ids if pk], state__in=BAD_ENDS)
    return {run.cluster_id: run for run in results}


def _since(need: Need, cluster: Cluster, run: BackupRun | None) -> datetime:
    """When a need began."""
    if need in (Need.OVERDUE, Need.OVERDUE_FAILING) and cluster.overdue_at:
        return cluster.overdue_at
    if need is Need.BLOCKED and cluster.due_at:
        return cluster.due_at
    return (run.finished_at or run.requested_at) if run else cluster.registered_at
