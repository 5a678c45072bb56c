"""Storing the cloud's clusters and tags, with a constant number of queries per batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.utils import timezone

from backups.choices import Readiness
from backups.css_api.types import ClusterInfo, ProjectIdentity
from backups.models import Cluster, ClusterTag, Project
from backups.services.clusters.checks import ASKED_FOR
from backups.services.clusters.columns import cluster_columns, gone_columns

BATCH = 500


class Stored(NamedTuple):
    """What storing a list changed.

    Attributes:
        project: the project of the clusters.
        added: number of new clusters.
        gone: number of clusters marked as gone.
    """

    project: Project
    added: int
    gone: int


def store_project(identity: ProjectIdentity) -> Project:
    """Create or update the project that an entry's credentials reach."""
    project, _is_new = Project.objects.update_or_create(
        cloud=identity.cloud,
        region=identity.region,
        project_id=identity.project_id,
        defaults={"name": identity.project_name[:255]},
    )
    return project


def store_list(identity: ProjectIdentity, listed: Sequence[ClusterInfo]) -> Stored:
    """Update the clusters of a cloud and region from a list. Call it in a transaction.

    Only changes are written, because most lists have none. Nothing is deleted: clusters that are
    not in the list are marked as gone.

    Args:
        identity: the source of the list.
        listed: the complete list.
    """
    project = store_project(identity)
    columns = ("pk", "cluster_id", "by_hand", "gone_at", *_COLUMNS)
    held = {row["cluster_id"]: row for row in project.clusters.values(*columns)}
    wanted = {info.id: cluster_columns(info) for info in listed}
    written = [
        Cluster(project=project, cluster_id=cluster_id, gone_at=None, **found)
        for cluster_id, found in wanted.items()
        if cluster_id not in held or _differs(held[cluster_id], found)
    ]
    Cluster.objects.bulk_create(
        written,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["project", "cluster_id"],
        update_fields=[*_COLUMNS, "gone_at"],
    )
    _check_again([held[key]["pk"] for key in wanted if key in held and held[key]["gone_at"]])
    # A cluster registered by its id may never be listed: its check decides.
    missed = [
        row["pk"]
        for row in held.values()
        if row["cluster_id"] not in wanted and row["gone_at"] is None and not row["by_hand"]
    ]
    gone = _mark_gone(missed)
    store_tags(project, listed)
    # clusters of another project that the entry's credentials reached before
    elsewhere = Cluster.objects.present().filter(
        project__cloud=identity.cloud, project__region=identity.region
    )
    gone += elsewhere.exclude(project=project).update(**gone_columns(timezone.now()))
    return Stored(project, len(wanted.keys() - held.keys()), gone)


def store_one(project: Project, info: ClusterInfo) -> tuple[Cluster, bool]:
    """Register one cluster by hand. Call it in a transaction.

    Args:
        project: its project.
        info: the cloud's description.

    Returns:
        Its row, and whether it is new or had gone.
    """
    known = {**cluster_columns(info), "by_hand": True, "gone_at": None}
    cluster, fresh = Cluster.objects.get_or_create(
        project=project, cluster_id=info.id, defaults=known
    )
    if not fresh:
        gone = Cluster.objects.filter(pk=cluster.pk, gone_at__isnull=False)
        fresh = bool(gone.update(**known))
        if fresh:
            _check_again([cluster.pk])
        cluster.refresh_from_db()
    if fresh:
        store_tags(project, [info])
    return cluster, fresh


def retire(cloud: str, region: str) -> int:
    """Mark the clusters of an entry that was removed from clouds.yaml as gone.

    Returns:
        The number of clusters marked.
    """
    there = Cluster.objects.present().filter(project__cloud=cloud, project__region=region)
    return there.update(**gone_columns(timezone.now()))


def forget_readiness(project_id: int) -> int:
    """Reset the readiness of a project's clusters: they are no longer checked.

    Args:
        project_id: primary key of a project whose last connection was disconnected.

    Returns:
        The number of clusters.
    """
    return (
        Cluster.objects.present()
        .filter(project=project_id)
        .update(
            readiness=Readiness.UNKNOWN,
            readiness_detail="The connection is disconnected: the cluster is not checked.",
            checked_at=None,
            check_error="",
        )
    )


def check_again(project_id: int) -> None:
    """Request checks of a project's clusters: it is connected again."""
    here = Cluster.objects.present().filter(project=project_id)
    here.update(check_due_at=ASKED_FOR)


_COLUMNS = tuple(cluster_columns(ClusterInfo("", "", "")))


def _differs(held: dict[str, Any], found: dict[str, Any]) -> bool:
    return held["gone_at"] is not None or any(held[name] != found[name] for name in _COLUMNS)


def _mark_gone(pks: Sequence[int]) -> int:
    gone = gone_columns(timezone.now())
    return sum(
        Cluster.objects.present().filter(pk__in=some, by_hand=False).update(**gone)
        for some in _batches(pks)
    )


def _check_again(pks: Sequence[int]) -> None:
    """Reset the readiness of clusters that are back, and request checks."""
    for some in _batches(pks):
        Cluster.objects.filter(pk__in=some).update(
            readiness=Readiness.UNKNOWN,
            readiness_detail="",
            checked_at=None,
            check_due_at=ASKED_FOR,
        )


def store_tags(project: Project, listed: Sequence[ClusterInfo]) -> None:
    """Update the clusters' cloud tags; labels do not change.

    Args:
        project: the project of the clusters.
        listed: clusters that are already stored.
    """
    clusters = project.clusters.all()
    found = ClusterTag.objects.filter(cluster__project=project, origin=ClusterTag.Origin.CLOUD)
    if len(listed) <= BATCH:  # a few, perhaps of many
        clusters = clusters.filter(cluster_id__in=[info.id for info in listed])
        found = found.filter(cluster__in=clusters)
    pks = dict(clusters.values_list("cluster_id", "pk"))
    of_listed = {pks[info.id]: info.tags for info in listed}
    wanted = {
        (cluster, key[:128]): value[:255]
        for cluster, tags in of_listed.items()
        for key, value in tags
        if key
    }
    stale = []
    for pk, cluster, key, value in found.values_list("pk", "cluster_id", "key", "value"):
        if wanted.get((cluster, key)) == value:
            del wanted[cluster, key]
        elif cluster in of_listed:
            stale.append(pk)
    for some in _batches(stale):
        ClusterTag.objects.filter(pk__in=some).delete()
    ClusterTag.objects.bulk_create(
        [
            ClusterTag(cluster_id=cluster, origin=ClusterTag.Origin.CLOUD, key=key, value=value)
            for (cluster, key), value in wanted.items()
        ],
        batch_size=BATCH,
        ignore_conflicts=True,
    )


def _batches(pks: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(pks), BATCH):
        yield pks[start : start + BATCH]
