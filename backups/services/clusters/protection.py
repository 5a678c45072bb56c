"""Protection: the age of a cluster's last verified backup against its objective."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import NoticeKind, Protection
from backups.models import Alert, BackupRun, Cluster, Project
from backups.models.cluster import protection_q
from backups.models.project import LONGEST_OBJECTIVE_HOURS
from dashboard.accounts.models import User
from dashboard.audit.trail import Action, Actor, record
from dashboard.db.prepared import Param, Prepared

# A backup is due in the last quarter of its objective: time to act before it is overdue.
DUE_SHARE = 0.75
_OBJECTIVES = ("objective_hours", "project__objective_hours")
_OBJECTIVE = Prepared(lambda: Cluster.objects.filter(pk=Param("pk")).values_list(*_OBJECTIVES))
# the rows of one cluster of the cloud, with their objectives
_SAME = Prepared(
    lambda: (
        Cluster.objects.filter(cluster_id=Param("cluster"), project__project_id=Param("project"))
        .order_by("pk")
        .values_list("pk", *_OBJECTIVES)
    )
)
# a cluster without a newer verified backup
_OLDER = Prepared(
    lambda: Cluster.objects.filter(
        Q(verified_at=None) | Q(verified_at__lte=Param("at")), pk=Param("pk")
    )
)


class Summary(NamedTuple):
    """Protection of the watched clusters.

    Attributes:
        protected: clusters within their objective, including those whose backup is due.
        total: all watched clusters.
        by_state: clusters by protection state.
    """

    protected: int
    total: int
    by_state: dict[Protection, int]


def verified(cluster_id: int, at: datetime, hours: int | None = None) -> bool:
    """Record a verified backup. Call it in the transaction that stores the result.

    Older backups that are found later change nothing.

    Args:
        cluster_id: primary key.
        at: when the cloud's job ended, as far as known; a time in the future counts as now.
        hours: its objective as just read, None to read it.

    Returns:
        Whether it is the cluster's newest.
    """
    at = min(at, timezone.now())
    if hours is None:
        hours = _objective(cluster_id)
    while True:
        changes = {"verified_at": at} | _deadlines(at, hours)
        if not _OLDER.update(changes, pk=cluster_id, at=at):
            return False
        # The UPDATE may have waited for another that changed the objective.
        if (current := _objective(cluster_id)) == hours:
            return True
        hours = current


def verified_for(subject: BackupRun | Cluster, at: datetime) -> None:
    """Record a verified backup for each row of the cluster: several entries can reach its project.

    Args:
        subject: a run of the cluster, or one of its rows.
        at: as for `verified`.
    """
    if isinstance(subject, Cluster):
        cloud_id, project_id = subject.cluster_id, subject.project.project_id
    else:
        cloud_id, project_id = subject.cluster_cloud_id, subject.project_id_in_cloud
    for pk, own, projects in _SAME.fetch(cluster=cloud_id, project=project_id):
        verified(pk, at, own or projects)


def set_objective(target: Project | Cluster, hours: int | None, actor: Actor) -> int:
    """Set a protection objective and recompute the deadlines that depend on it.

    Args:
        target: a cluster, or a project for all its clusters without an objective of their own.
        hours: the objective in hours; None makes a cluster use its project's.
        actor: for the audit trail.

    Returns:
        The number of clusters that the objective applies to.

    Raises:
        ValueError: the hours are out of range, or None for a project.
    """
    if hours is None and isinstance(target, Project):
        raise ValueError(_("A project always has an objective."))
    if hours is not None and not 1 <= hours <= LONGEST_OBJECTIVE_HOURS:
        raise ValueError(
            _("An objective is 1 to %(most)d hours.") % {"most": LONGEST_OBJECTIVE_HOURS}
        )
    with transaction.atomic():
        return _set_objective(target, hours, actor)


def _set_objective(target: Project | Cluster, hours: int | None, actor: Actor) -> int:
    project_id = target.pk if isinstance(target, Project) else target.project_id
    # A no-op UPDATE takes the project's lock, so concurrent changes wait for each other.
    Project.objects.filter(pk=project_id).update(objective_hours=F("objective_hours"))
    model, before = type(target), target.objective_hours
    while not model.objects.filter(pk=target.pk, objective_hours=before).update(
        objective_hours=hours
    ):  # changed meanwhile: the audit trail must have the value that this one replaces
        before = model.objects.values_list("objective_hours", flat=True).get(pk=target.pk)
    target.objective_hours = hours
    if isinstance(target, Project):
        decided = Cluster.objects.filter(project=target, objective_hours=None)
        effective = target.objective_hours
    else:
        decided = Cluster.objects.filter(pk=target.pk)
        effective = _objective(target.pk)
    decided.filter(verified_at__isnull=False).update(**_deadlines(F("verified_at"), effective))
    # never backed up, and overdue no more: when they are again, that is told again
    within = timezone.now() - timedelta(hours=effective)
    patient = decided.filter(verified_at=None, registered_at__gt=within)
    Alert.objects.filter(kind=NoticeKind.PROTECTION_OVERDUE, cluster__in=patient).delete()
    count = decided.count()
    if before != hours:
        record(
            Action.OBJECTIVE_CHANGED,
            actor=actor,
            target=target,
            project=target if isinstance(target, Project) else target.project,
            before={"objective_hours": before},
            after={"objective_hours": hours},
        )
    return count


def summary(user: User) -> Summary:
    """Protection of the clusters that a user may see; one query."""
    now = timezone.now()
    counted = Cluster.objects.watched().visible_to(user)
    found = counted.aggregate(
        **{state.value: Count("pk", filter=protection_q(state, now)) for state in Protection}
    )
    return summarised({state: found[state.value] for state in Protection})


def summarised(by_state: dict[Protection, int]) -> Summary:
    """The summary of clusters by state."""
    within = by_state[Protection.PROTECTED] + by_state[Protection.DUE]
    return Summary(within, sum(by_state.values()), by_state)


def _objective(cluster_id: int) -> int:
    """The objective that applies to a cluster, in hours."""
    ((own, projects),) = _OBJECTIVE.fetch(pk=cluster_id)
    hours: int = own or projects
    return hours


def _deadlines(at: datetime | F, hours: int) -> dict[str, Any]:
    objective = timedelta(hours=hours)
    return {"due_at": at + objective * DUE_SHARE, "overdue_at": at + objective}
