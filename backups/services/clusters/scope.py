"""The history of objectives and of the clusters that count, where no trigger has written it."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import F, Min, OuterRef, Q, Subquery
from django.utils import timezone

from backups.models import Cluster, ObjectiveChange, Project, ScopeChange
from dashboard.db.concurrency import unapplied_migrations

_AT_ONCE = 1000
_WATCHED = Q(gone_at=None, archived_at=None)


def add_missing(using: str, **_: Any) -> None:
    """Add what is missing; a `post_migrate` receiver.

    Clusters that were registered before the history was kept get a history from their registration
    on. What migrations and loaded dumps changed, while the triggers were lifted, holds from now on.
    Both are marked as assumed.
    """
    if any(name.startswith("backups.") for name in unapplied_migrations(connections[using])):
        return
    now = timezone.now()
    latest = ObjectiveChange.objects.filter(project=OuterRef("pk")).order_by("-pk")
    projects = (
        Project.objects.annotate(
            known=Subquery(latest.values("objective_hours")[:1]),
            first=Min("clusters__registered_at"),
        )
        .filter(Q(known=None) | ~Q(known=F("objective_hours")))
        .order_by("pk")
    )
    ObjectiveChange.objects.bulk_create(
        ObjectiveChange(
            project=project,
            at=(project.first or now) if project.known is None else now,
            assumed_at=now,
            objective_hours=project.objective_hours,
        )
        for project in projects
    )
    rows: list[ScopeChange] = []
    last = ScopeChange.objects.filter(cluster=OuterRef("pk")).order_by("-pk")
    clusters = Cluster.objects.annotate(
        known=Subquery(last.values("watched")[:1]),
        hours=Subquery(last.values("objective_hours")[:1]),
    ).exclude(_same(watched=True) | _same(watched=False))
    for cluster in clusters.order_by("pk").iterator(_AT_ONCE):
        left = [at for at in (cluster.gone_at, cluster.archived_at) if at is not None]
        own = {"cluster": cluster, "assumed_at": now, "objective_hours": cluster.objective_hours}
        if cluster.known is None:
            rows.append(ScopeChange(at=cluster.registered_at, watched=True, **own))
        if cluster.known is not None or left:
            at = min(left) if cluster.known is None else now
            rows.append(ScopeChange(at=at, watched=not left, **own))
    ScopeChange.objects.bulk_create(rows, batch_size=_AT_ONCE)


def _same(*, watched: bool) -> Q:
    """Clusters whose last change says what the cluster says."""
    same_hours = Q(hours=F("objective_hours")) | Q(hours=None, objective_hours=None)
    return Q(known=watched) & (_WATCHED if watched else ~_WATCHED) & same_hours
