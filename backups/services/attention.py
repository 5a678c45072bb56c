"""What needs attention, by cause: unprotected clusters, failed backups, failed connections."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from backups.choices import AttentionCause, Protection
from backups.lists.causes import last_cause, last_result
from backups.models import BackupRun, Cluster, Connection, Handling
from backups.models.cluster import (
    WORST_FIRST,
    ClusterQuerySet,
    attach_latest_runs,
    protection_at,
    protection_q,
)
from backups.rules.causes import BAD_ENDS, BLOCKED, cause_of, run_cause
from dashboard.accounts.models import User

from .result_cache import COUNTS_TIMEOUT, cached

MOST_SHOWN = 20  # connections, handlings
MOST_ROWS = 3  # clusters of a cause

# Worst first, in the order of the protection page.
_RANK = {protection: rank for rank, protection in enumerate(WORST_FIRST)}


@dataclass(frozen=True, slots=True)
class Finding:
    """A cluster that needs attention.

    Attributes:
        cause: why.
        cluster: the cluster, with its project and its latest run.
        run: its last run with a result, if that is a bad one.
        since: when the need began.
        protection: the cluster's protection state.
    """

    cause: AttentionCause
    cluster: Cluster
    run: BackupRun | None
    since: datetime
    protection: Protection


@dataclass(frozen=True, slots=True)
class CauseCount:
    """Clusters that need attention for one cause, without those that are handled.

    Attributes:
        cause: why.
        count: how many.
        overdue, never: how many of them are overdue, or were never backed up.
        worst: primary keys of the worst ones, at most MOST_ROWS.
    """

    cause: AttentionCause
    count: int
    overdue: int
    never: int
    worst: list[int]


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """A cause with its worst clusters."""

    counted: CauseCount
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Attention:
    """What needs attention.

    Attributes:
        connections: connections whose last synchronisation failed, at most MOST_SHOWN.
        connection_count: all of them.
        counts: clusters by cause, the cause with the worst cluster first.
        handled: handlings that hold, with how many clusters each covers, newest first.
        handlings: the same, to look up who covers a cluster.
    """

    connections: list[Connection]
    connection_count: int
    counts: list[CauseCount]
    handled: list[tuple[Handling, int]]
    handlings: Handlings

    @property
    def total(self) -> int:
        return self.connection_count + sum(each.count for each in self.counts)

    @property
    def handled_count(self) -> int:
        return sum(count for _handling, count in self.handled)


class Handlings:
    """Handlings that hold, and which of them covers a cluster: its own before a cause's."""

    def __init__(self, handlings: Iterable[Handling]) -> None:
        self.all = list(handlings)
        self._by_scope = {each.scope: each for each in self.all}

    def covering(
        self, pk: int, project_id: int, cause: AttentionCause, verified_at: datetime | None
    ) -> Handling | None:
        """The handling that covers a cluster; `lists.causes.handled_q` is the same in SQL."""
        if not self._by_scope:
            return None
        own = self._by_scope.get(f"cluster:{pk}")
        if own and (own.cause, own.verified_at) == (cause, verified_at):
            return own
        scopes = (f"cause:{cause}:{project_id}", f"cause:{cause}:")
        return next((each for scope in scopes if (each := self._by_scope.get(scope))), None)

    @property
    def key(self) -> str:
        """Identifies them for the cache: what was just handled must not count any more."""
        return ",".join(str(each.pk) for each in self.all)


def handlings_for(user: User, now: datetime) -> Handlings:
    """The handlings that hold and the user may see."""
    found = Handling.objects.holding(now).visible_to(user)
    return Handlings(found.select_related("cluster", "project"))


def needs_attention(user: User, now: datetime | None = None) -> Attention:
    """What needs attention and the user may see; a constant number of queries."""
    now = now or timezone.now()
    watched = Cluster.objects.watched().visible_to(user)
    handlings = handlings_for(user, now)
    counts, covered = cached(
        "attention", watched, lambda: _count(watched, handlings, now), COUNTS_TIMEOUT, handlings.key
    )
    failing = Connection.objects.visible_to(user).connected().exclude(sync_error="")
    connections = list(failing.order_by("synced_at", "pk")[: MOST_SHOWN + 1])
    full = len(connections) > MOST_SHOWN
    return Attention(
        connections=connections[:MOST_SHOWN],
        connection_count=failing.count() if full else len(connections),
        counts=counts,
        handled=[
            (each, covered[each.pk])
            for each in handlings.all
            # one of a cluster whose cause has changed has ended, though nobody wrote that down
            if each.cluster_id is None or covered[each.pk]
        ],
        handlings=handlings,
    )


def _in_need(watched: ClusterQuerySet, now: datetime) -> ClusterQuerySet:
    """Clusters for which `cause_of` returns a cause. The subquery runs only where nothing else
    decides."""
    return watched.annotate(last_result=last_result("state")).filter(
        protection_q(Protection.NEVER, now)
        | protection_q(Protection.OVERDUE, now)
        | (protection_q(Protection.DUE, now) & Q(readiness__in=BLOCKED))
        | Q(last_result__in=BAD_ENDS)
    )


def _count(
    watched: ClusterQuerySet, handlings: Handlings, now: datetime
) -> tuple[list[CauseCount], Counter[int]]:
    """The clusters by cause, and how many each handling covers; one query."""
    columns = ("pk", "project_id", "name", "readiness", "verified_at", "due_at", "overdue_at")
    found: dict[AttentionCause, list[tuple[int, datetime, str, int]]] = defaultdict(list)
    covered: Counter[int] = Counter()
    rows = _in_need(watched, now).order_by().annotate(last=last_cause())
    for pk, project, name, readiness, verified_at, due_at, overdue_at, last in rows.values_list(
        *columns, "last"
    ):
        protection = protection_at(due_at, overdue_at, now)
        cause = cause_of(protection, readiness, last)
        if cause is None:
            continue
        if handling := handlings.covering(pk, project, cause, verified_at):
            covered[handling.pk] += 1
        else:
            # then by the time when the objective is missed
            found[cause].append((_RANK[protection], overdue_at or now, name, pk))
    worst = {cause: min(places) for cause, places in found.items()}
    order = sorted(found, key=lambda cause: (worst[cause][0], -len(found[cause]), worst[cause]))
    return [_counted(cause, found[cause]) for cause in order], covered


def _counted(cause: AttentionCause, places: list[tuple[int, datetime, str, int]]) -> CauseCount:
    ranks = Counter(place[0] for place in places)
    worst = [place[-1] for place in heapq.nsmallest(MOST_ROWS, places)]
    overdue, never = ranks[_RANK[Protection.OVERDUE]], ranks[_RANK[Protection.NEVER]]
    return CauseCount(cause, len(places), overdue, never, worst)


def with_findings(counts: list[CauseCount], now: datetime) -> list[CauseGroup]:
    """The current clusters behind the counts; one that has recovered since is left out.

    Three queries.
    """
    pks = [pk for each in counts for pk in each.worst]
    clusters = list(
        Cluster.objects.filter(pk__in=pks)
        .annotate(result_id=last_result("pk"))
        .with_latest_run()
        .select_related("project")
    )
    attach_latest_runs(clusters)
    result_ids = {cluster.pk: getattr(cluster, "result_id", None) for cluster in clusters}
    results = BackupRun.objects.in_bulk([pk for pk in result_ids.values() if pk])
    found = {}
    for cluster in clusters:
        run = results.get(result_ids[cluster.pk] or 0)
        bad_run = run if run and run.run_state in BAD_ENDS else None
        protection = cluster.protection(now)
        last = cause_of_run(bad_run) if bad_run else None
        if cause := cause_of(protection, cluster.readiness, last):
            since = _since(cause, cluster, bad_run, protection)
            found[cluster.pk] = Finding(cause, cluster, bad_run, since, protection)
    return [CauseGroup(each, [found[pk] for pk in each.worst if pk in found]) for each in counts]


def cause_of_run(run: BackupRun) -> AttentionCause | None:
    """The cause that a run gives, None if it ended well or has no result."""
    facts = (run.error_code, run.failed_message, run.conflict_holder)
    return run_cause(run.state, run.outcome, *facts)


def bad_results(clusters: ClusterQuerySet) -> dict[int, BackupRun]:
    """The last run with a result by cluster, if that is a bad one; two queries."""
    ids = clusters.order_by().annotate(result_id=last_result("pk")).values_list("result_id")
    results = BackupRun.objects.filter(pk__in=[pk for (pk,) in ids if pk], state__in=BAD_ENDS)
    return {run.cluster_id: run for run in results}


def _since(
    cause: AttentionCause, cluster: Cluster, run: BackupRun | None, protection: Protection
) -> datetime:
    """When a need began."""
    if protection is Protection.OVERDUE and cluster.overdue_at:
        return cluster.overdue_at
    if run is None and cause.value in BLOCKED and cluster.due_at:
        return cluster.due_at
    return (run.finished_at or run.requested_at) if run else cluster.registered_at
