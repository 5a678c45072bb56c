"""A row of the clusters page, whether it stands in the table or is answered alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.shortcuts import get_object_or_404
from django.utils import timezone

from backups.choices import Protection, Trigger
from backups.models import Cluster, ClusterTag
from backups.models.cluster import ClusterQuerySet, attach_latest_runs
from backups.services.requests import reason_required
from dashboard.accounts.access import Permission, may, require
from dashboard.accounts.models import User

from .common import PageRequest, new_key

MOST_TAGS = 6  # of a row; the cluster's page has all


@dataclass(slots=True)
class ClusterRow:
    """A row of the table.

    Attributes:
        cluster: with its project, its tags and its latest run.
        now: the moment at which protection is judged.
        may_run, may_configure: what the user may do with it.
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
        """Whether the button is there: a cluster that has gone or is archived has none."""
        out_of_the_way = self.cluster.gone_at or self.cluster.archived_at
        return self.may_run and not out_of_the_way

    @property
    def reason_required(self) -> bool:
        """Whether whoever asks for a backup must say why."""
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
        """How the row looks, in short: another token means another look."""
        cluster, run = self.cluster, self.cluster.latest_run
        looks = (
            (cluster.name, cluster.engine, cluster.version, cluster.status_label),
            (cluster.readiness, cluster.readiness_detail, cluster.checked_at, cluster.check_error),
            (self.protection, cluster.verified_at, cluster.objective),
            (cluster.archived_at, cluster.gone_at, self.may_run, self.may_configure),
            sorted((tag.origin, tag.key, tag.value) for tag in cluster.tags.all()),
        )
        digest = zlib.crc32(repr(looks).encode())
        return f"{run.pk}.{run.version}.{digest:x}" if run else f"{digest:x}"


def with_row_parts(clusters: ClusterQuerySet) -> ClusterQuerySet:
    """Clusters with all that a row shows but the run itself, which `rows_of` adds."""
    return clusters.with_latest_run().select_related("project").prefetch_related("tags")


def rows_of(clusters: Iterable[Cluster], user: User) -> list[ClusterRow]:
    """Rows for clusters that came from `with_row_parts()`; one query for all their runs."""
    listed = list(clusters)
    attach_latest_runs(listed)
    now = timezone.now()
    projects = {cluster.project_id: cluster.project for cluster in listed}
    allowed = {
        pk: (may(user, Permission.RUN, project), may(user, Permission.CONFIGURE, project))
        for pk, project in projects.items()
    }
    return [ClusterRow(cluster, now, *allowed[cluster.project_id]) for cluster in listed]


def rows_in_order(pks: list[int], user: User) -> list[ClusterRow]:
    """Rows of clusters that the user may see, in the given order."""
    places = {pk: place for place, pk in enumerate(pks)}
    found = with_row_parts(Cluster.objects.visible_to(user).filter(pk__in=pks))
    return sorted(rows_of(found, user), key=lambda row: places[row.cluster.pk])


def row_of(pk: int, user: User) -> ClusterRow:
    """The row of one cluster that the user may see, as it is now."""
    return rows_in_order([pk], user)[0]


def permitted_cluster(request: PageRequest, pk: int, permission: Permission) -> Cluster:
    """A cluster that the user may see and do something with.

    Raises:
        Http404: there is none that they may see.
        PermissionDenied: they may not do this with it.
    """
    visible = Cluster.objects.visible_to(request.user).select_related("project")
    cluster = get_object_or_404(visible, pk=pk)
    require(request.user, permission, cluster.project)
    return cluster
