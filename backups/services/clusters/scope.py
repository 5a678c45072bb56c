"""The history of objectives and of the clusters that count, where no trigger has written it."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import F, Min, OuterRef, Q, Subquery
from django.utils import timezone

from backups.models import Cluster, ObjectiveChange, Project, ScopeChange
from dashboard.db.concurrency import unapplied_migrations

_AT_ONCE = 1000


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
        known_hours=Subquery(last.values("objective_hours")[:1]),
    ).only("registered_at", "gone_at", "archived_at", "objective_hours")
    for cluster in clusters.order_by("pk").iterator(_AT_ONCE):
        left = [at for at in (cluster.gone_at, cluster.archived_at) if at is not None]
        own = {"cluster": cluster, "assumed_at": now, "objective_hours": cluster.objective_hours}
        if cluster.known is None:
            rows.append(ScopeChange(at=cluster.registered_at, watched=True, **own))
            if left:
                rows.append(ScopeChange(at=min(left), watched=False, **own))
        elif (cluster.known, cluster.known_hours) != (not left, cluster.objective_hours):
            rows.append(ScopeChange(at=now, watched=not left, **own))
    ScopeChange.objects.bulk_create(rows, batch_size=_AT_ONCE)
