"""The history of objectives and of the clusters that count, where no trigger has written it."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import Min, OuterRef, Subquery
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
    known = Subquery(latest.values("objective_hours")[:1])
    projects = Project.objects.annotate(known=known, first=Min("clusters__registered_at"))
    rows = projects.order_by("pk").values_list("pk", "objective_hours", "known", "first")
    ObjectiveChange.objects.bulk_create(
        ObjectiveChange(
            project_id=pk,
            at=(first or now) if before is None else now,
            assumed_at=now,
            objective_hours=hours,
        )
        for pk, hours, before, first in rows
        if before != hours
    )
    last = ScopeChange.objects.filter(cluster=OuterRef("pk")).order_by("-pk")
    clusters = Cluster.objects.annotate(
        known=Subquery(last.values("watched")[:1]),
        known_hours=Subquery(last.values("objective_hours")[:1]),
    ).order_by("pk")
    found: list[ScopeChange] = []
    columns = ("pk", "registered_at", "gone_at", "archived_at", "objective_hours")
    for pk, registered, gone, archived, hours, watched, known_hours in clusters.values_list(
        *columns, "known", "known_hours"
    ).iterator(_AT_ONCE):
        left = [at for at in (gone, archived) if at is not None]
        own = {"cluster_id": pk, "assumed_at": now, "objective_hours": hours}
        if watched is None:
            found.append(ScopeChange(at=registered, watched=True, **own))
            if left:
                found.append(ScopeChange(at=min(left), watched=False, **own))
        elif (watched, known_hours) != (not left, hours):
            found.append(ScopeChange(at=now, watched=not left, **own))
    ScopeChange.objects.bulk_create(found, batch_size=_AT_ONCE)
