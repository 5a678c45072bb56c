"""A cluster as a row of a list, and the next step that is offered for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from django.shortcuts import get_object_or_404
from django.utils import timezone

from backups.choices import Outcome, Protection, Readiness, Trigger
from backups.models import BackupRun, Cluster, ClusterTag, Project
from backups.models.cluster import ClusterQuerySet, attach_latest_runs, protection_at
from backups.services.clusters.preflight import blocked_reasons
from backups.services.runs.requests import reason_required
from dashboard.accounts.access import Permission, may, require
from dashboard.accounts.models import User

from .common import PageRequest, new_key
from .live import token
from .presentation import explanation

MOST_TAGS = 6  # of a row; the cluster's page has all


@dataclass(slots=True)
class ClusterRow:
    """A row of the table.

    Attributes:
        cluster: with its project, its tags and its latest run.
        now: the moment at which protection is judged.
        may_run, may_configure: what the user may do with it.
        blocked: why it cannot be backed up at all, "" where it can.
        reason, wait: what was typed into the row's options.
        problems: what was wrong with it, as sentences.
        wrong: the fields that were wrong.
        explains: it says why a backup would be refused, and offers it anyway.
        key: the idempotency key of the row's form.
    """

    cluster: Cluster
    now: datetime
    may_run: bool = False
    may_configure: bool = False
    blocked: str = ""
    reason: str = ""
    wait: str = ""
    problems: list[str] = field(default_factory=list)
    wrong: frozenset[str] = frozenset()
    explains: bool = False
    key: str = field(default_factory=new_key)

    @property
    def protection(self) -> Protection:
        return self.cluster.protection(self.now)

    @property
    def overdue_for(self) -> timedelta:
        """How long the objective has been missed; negative while it is met."""
        return self.now - (self.cluster.overdue_at or self.now)

    @property
    def may_ask(self) -> bool:
        """Whether to show the backup button."""
        return self.may_run and not self.blocked

    @property
    def reason_required(self) -> bool:
        """Whether a request for a backup must have a reason."""
        return reason_required(Trigger.BUTTON)

    @property
    def tags(self) -> list[ClusterTag]:
        """Labels first, then tags of the cloud, as many as a row shows."""
        return sorted(
            self.cluster.tags.all(), key=lambda tag: (tag.origin != ClusterTag.Origin.OWN, tag.key)
        )[:MOST_TAGS]

    @property
    def more_tags(self) -> int:
        """How many tags and labels the row leaves out."""
        return max(len(self.cluster.tags.all()) - MOST_TAGS, 0)

    @property
    def token(self) -> str:
        """The live token of the row."""
        cluster, run = self.cluster, self.cluster.latest_run
        facts = (*(getattr(cluster, name) for name in _FACTS), cluster.project.objective_hours)
        tags = [(tag.origin, tag.key, tag.value) for tag in cluster.tags.all()]
        allowed = (self.may_run, self.may_configure)
        return _token(facts, tags, self.protection, allowed, (run.pk, run.version) if run else None)


# What a row shows of its cluster, beside tags, protection and run.
_FACTS = (
    *("name", "engine", "version", "status", "actions", "gone_at", "archived_at"),
    *("readiness", "readiness_detail", "checked_at", "check_error"),
    *("verified_at", "objective_hours"),
)


def _token(
    facts: tuple[object, ...],
    tags: list[tuple[str, str, str]],
    protection: Protection,
    allowed: tuple[bool, bool],
    run: tuple[int, int] | None,
) -> str:
    return token(facts, sorted(tags), protection, allowed, run)


def with_row_parts(clusters: ClusterQuerySet) -> ClusterQuerySet:
    """Clusters with everything a row shows except the run, which `rows_of` adds."""
    return clusters.with_latest_run().select_related("project").prefetch_related("tags")


def rows_of(clusters: Iterable[Cluster], user: User) -> list[ClusterRow]:
    """Rows for clusters that came from `with_row_parts()`; two queries more for all of them."""
    listed = list(clusters)
    attach_latest_runs(listed)
    now = timezone.now()
    allowed = _allowed(user, {cluster.project_id for cluster in listed})
    blocked = blocked_reasons(listed)
    return [
        ClusterRow(cluster, now, *allowed[cluster.project_id], blocked=blocked.get(cluster.pk, ""))
        for cluster in listed
    ]


def tokens_of(pks: Iterable[int], user: User) -> dict[int, str]:
    """The token of each row, as `ClusterRow.token` has it, without reading the rows.

    Every open page asks once a second, and nearly always nothing has changed: three short queries,
    and not a model for each cluster, project, run and tag.

    Args:
        pks: clusters; those that the user may not see are left out.
        user: whose page it is.
    """
    visible = Cluster.objects.visible_to(user).filter(pk__in=pks).with_latest_run()
    found = list(
        visible.values_list(
            *("pk", "project_id", "due_at", "overdue_at", "latest_run_id"),
            *_FACTS,
            "project__objective_hours",
        )
    )
    runs = BackupRun.objects.filter(pk__in=[row[4] for row in found if row[4]])
    versions = dict(runs.order_by().values_list("pk", "version"))
    tags: dict[int, list[tuple[str, str, str]]] = {row[0]: [] for row in found}
    listed = ClusterTag.objects.filter(cluster__in=tags).order_by()
    for cluster_id, *tag in listed.values_list("cluster_id", "origin", "key", "value"):
        tags[cluster_id].append((tag[0], tag[1], tag[2]))
    now = timezone.now()
    allowed = _allowed(user, {row[1] for row in found})
    tokens = {}
    for pk, project, due_at, overdue_at, run, *facts in found:
        protection = protection_at(due_at, overdue_at, now)
        latest = (run, versions[run]) if run in versions else None
        tokens[pk] = _token(tuple(facts), tags[pk], protection, allowed[project], latest)
    return tokens


def _allowed(user: User, projects: Iterable[int]) -> dict[int, tuple[bool, bool]]:
    """Whether the user may request backups, and configure, in each project."""
    allowed = {}
    for pk in projects:
        here = Project(pk=pk)
        allowed[pk] = may(user, Permission.RUN, here), may(user, Permission.CONFIGURE, here)
    return allowed


def rows_in_order(pks: list[int], user: User) -> list[ClusterRow]:
    """Rows of clusters that the user may see, in the given order."""
    places = {pk: place for place, pk in enumerate(pks)}
    found = with_row_parts(Cluster.objects.visible_to(user).filter(pk__in=pks))
    return sorted(rows_of(found, user), key=lambda row: places[row.cluster.pk])


def row_of(pk: int, user: User) -> ClusterRow:
    """The row of one cluster that the user may see, as it is now."""
    return rows_in_order([pk], user)[0]


def permitted_cluster(request: PageRequest, pk: int, permission: Permission) -> Cluster:
    """Get a cluster that the user may see and has a permission for.

    Raises:
        Http404: there is none that they may see.
        PermissionDenied: they may not do this with it.
    """
    visible = Cluster.objects.visible_to(request.user).select_related("project")
    cluster = get_object_or_404(visible, pk=pk)
    require(request.user, permission, cluster.project)
    return cluster


class NextStep(StrEnum):
    """What is offered for a cluster."""

    NOTHING = "nothing"
    FOLLOW = "follow"  # the run under way
    SETTINGS = "settings"
    CLUSTER = "cluster"
    READ = "read"  # what to do is on the page of the run that ended badly
    BACKUP = "backup"


def next_step(
    cluster: Cluster, bad: BackupRun | None, protection: Protection, *, may_ask: bool
) -> NextStep:
    """Choose the next step: remove an obstacle first, then retry where that can help.

    Args:
        cluster: with its latest run.
        bad: its last run that came to a result, where that is a bad one.
        protection: how it stands to its objective.
        may_ask: whether the user may back it up.
    """
    latest, readiness = cluster.latest_run, cluster.readiness
    if latest and latest.is_active:
        return NextStep.FOLLOW
    if bad is None and protection is Protection.PROTECTED:
        return NextStep.NOTHING
    if readiness in (Readiness.BACKUP_OFF, Readiness.STORAGE_MISSING):
        return NextStep.SETTINGS
    if readiness == Readiness.UNAVAILABLE:
        return NextStep.CLUSTER
    if bad and bad.is_active:
        return NextStep.FOLLOW
    if bad and not can_end_well(bad, cluster):
        return NextStep.READ
    return NextStep.BACKUP if may_ask else NextStep.CLUSTER


def can_end_well(run: BackupRun, cluster: Cluster) -> bool:
    """Whether a retry can help, or a later check shows that the obstacle is gone."""
    ended = run.finished_at or run.requested_at
    ready_since = cluster.readiness == Readiness.READY and (cluster.checked_at or ended) > ended
    return explanation(run).retryable or (
        ready_since and run.outcome == Outcome.PRECONDITION_FAILED
    )
