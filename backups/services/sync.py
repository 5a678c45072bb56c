"""Registering the clusters that the clouds list. Nothing is ever deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from backups.css_api import config, session
from backups.css_api.client import CssClient
from backups.css_api.errors import ConfigurationError, CssApiError
from backups.css_api.types import ClusterInfo, ProjectIdentity
from backups.models import Cluster, Project

from .cloud import timeouts

logger = logging.getLogger(__name__)

# Columns that a sync brings up to date; the others are ours or never change.
_SYNCED = ["name", "engine", "version", "status", "actions", "failed_reason", "seen_at", "gone_at"]


@dataclass(frozen=True, slots=True)
class ProjectSync:
    """What a sync did for one cloud and region.

    Attributes:
        cloud, region: the entry of clouds.yaml and its region.
        project: the project's name, "" when it was not reached.
        listed: clusters that the cloud listed.
        added: of these, new ones.
        gone: clusters marked as vanished by this sync.
        error: why it failed, "" when it did not; then nothing was changed.
    """

    cloud: str
    region: str
    project: str = ""
    listed: int = 0
    added: int = 0
    gone: int = 0
    error: str = ""


def sync_clusters(cloud: str = "") -> list[ProjectSync]:
    """Register the clusters of every configured cloud and region, and mark the vanished ones.

    Args:
        cloud: only this entry of clouds.yaml; "" for all.

    Returns:
        A result for each cloud and region; one that fails does not keep the others from it.

    Raises:
        ConfigurationError: no cloud is configured, or none of that name.
    """
    configured = config.list_clouds()
    chosen = [entry for entry in configured if not cloud or entry[0] == cloud]
    if not configured:
        raise ConfigurationError(
            "no cloud is configured: describe one in clouds.yaml (here, in ~/.config/openstack/ "
            "or where OS_CLIENT_CONFIG_FILE points)"
        )
    if not chosen:
        known = ", ".join(sorted({name for name, _ in configured}))
        raise ConfigurationError(f"no cloud '{cloud}' in clouds.yaml; it has: {known}")
    results = [sync_project(name, region) for name, region in chosen]
    return results if cloud else [*results, *_retire_unconfigured(configured)]


def _retire_unconfigured(configured: Sequence[tuple[str, str]]) -> list[ProjectSync]:
    """Mark the clusters of entries that have left clouds.yaml as gone: nobody can reach them."""
    retired = []
    for project in Project.objects.all():
        if (project.cloud, project.region) in configured:
            continue
        gone = project.clusters.present().update(gone_at=timezone.now())
        Project.objects.filter(pk=project.pk).update(sync_error="")
        if gone:
            retired.append(ProjectSync(project.cloud, project.region, project.name, gone=gone))
    return retired


def sync_project(cloud: str, region: str) -> ProjectSync:
    """Register the clusters of one cloud and region.

    Args:
        cloud: entry of clouds.yaml.
        region: one of its regions, "" where it names none.

    Returns:
        The result; a failure is in `error`, and kept with the project for the pages.
    """
    try:
        connection = session.connect(cloud, region, timeouts=timeouts())
        identity = connection.identity()
        clusters = CssClient(connection).list_clusters()
    except CssApiError as error:
        logger.warning("sync of %s %s failed: %s", cloud, region, error)
        Project.objects.filter(cloud=cloud, region=region).update(sync_error=str(error)[:2000])
        return ProjectSync(cloud, region, error=str(error))
    return _register(identity, clusters)


@transaction.atomic
def _register(identity: ProjectIdentity, listed: tuple[ClusterInfo, ...]) -> ProjectSync:
    now = timezone.now()
    project, _ = Project.objects.update_or_create(
        cloud=identity.cloud,
        region=identity.region,
        project_id=identity.project_id,
        defaults={"name": identity.project_name[:255], "synced_at": now, "sync_error": ""},
    )
    known = set(project.clusters.values_list("cluster_id", flat=True))
    Cluster.objects.bulk_create(
        [_row(project, info, now) for info in listed],
        batch_size=500,
        update_conflicts=True,
        unique_fields=["project", "cluster_id"],
        update_fields=_SYNCED,
    )
    # Every cluster in the list was just stamped with `now`: the others were not listed.
    # So were those of a project that the entry's credentials reached before.
    gone = (
        Cluster.objects.present()
        .filter(project__cloud=identity.cloud, project__region=identity.region)
        .exclude(project=project, seen_at=now)
        .update(gone_at=now)
    )
    return ProjectSync(
        identity.cloud,
        identity.region,
        project.name or project.project_id,
        listed=len(listed),
        added=len({info.id for info in listed} - known),
        gone=gone,
    )


def _row(project: Project, info: ClusterInfo, now: datetime) -> Cluster:
    reason = " ".join(part for part in (info.failed_code, info.failed_message) if part)
    return Cluster(
        project=project,
        cluster_id=info.id,
        name=(info.name or info.id)[:255],
        engine=info.engine[:50],
        version=info.version[:50],
        status=info.status[:20],
        actions=[action[:100] for action in info.actions],
        failed_reason=reason,
        seen_at=now,
        gone_at=None,
    )
