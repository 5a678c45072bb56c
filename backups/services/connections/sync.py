"""Keeping the registered clusters in step with the clouds. Nothing is ever deleted."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.conf import settings

from backups.choices import ConnectionFault, SyncStep
from backups.css_api import config, session
from backups.css_api.client import CssClient
from backups.css_api.errors import ConfigurationError, CssApiError
from backups.css_api.types import ClusterInfo, ProjectIdentity
from backups.models import Cluster, Connection, Project
from backups.services.cloud import default_timeouts
from dashboard.db.concurrency import retry_while_unavailable

from .faults import fault_of
from .registering import retire, store_list
from .sync_lease import Lease, Superseded, begin, due_for_sync

__all__ = [
    "ProjectSync",
    "connect_new_entries",
    "due_for_sync",
    "is_configured",
    "sync_clusters",
    "sync_connection",
    "synchronise",
]

logger = logging.getLogger(__name__)


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
    """Synchronise every connected cloud and region, one after another.

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
        known = ", ".join(sorted({name for name, _region in configured}))
        raise ConfigurationError(f"no cloud '{cloud}' in clouds.yaml; it has: {known}")
    connect_new_entries()
    connected = {(row.cloud, row.region): row for row in Connection.objects.connected()}
    results = [synchronise(connected[entry]) for entry in chosen if entry in connected]
    if cloud:
        why = "it is not connected: connect it on the page Connections"
        left_out = [entry for entry in chosen if entry not in connected]
        return results + [ProjectSync(*entry, error=why) for entry in left_out]
    places = Project.objects.values_list("cloud", "region").distinct().order_by("cloud", "region")
    left = [_retired(*place) for place in places if place not in configured]
    return results + [result for result in left if result.gone]


def connect_new_entries() -> None:
    """Connect what is in clouds.yaml and was never connected, where AUTO_CONNECT allows it."""
    if not settings.AUTO_CONNECT:
        return
    try:
        configured = config.list_clouds()
    except ConfigurationError:
        return  # the connections page and the command name what is wrong with the file
    known = set(Connection.objects.values_list("cloud", "region"))
    for cloud, region in configured:
        if (cloud, region) not in known:
            Connection.objects.get_or_create(cloud=cloud, region=region)


def is_configured(cloud: str, region: str) -> bool:
    """Whether clouds.yaml has this entry and region: only such can be called.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    return (cloud, region) in config.list_clouds()


def sync_connection(connection_id: int) -> None:
    """Synchronise one connection; what came of it is kept with it, for the pages.

    Args:
        connection_id: primary key; one that is gone, disconnected or being synchronised by
            another worker is left alone.
    """
    row = Connection.objects.connected().filter(pk=connection_id).first()
    lease = begin(connection_id) if row is not None else None
    if row is not None and lease is not None:
        _sync(row, lease)


def synchronise(row: Connection) -> ProjectSync:
    """Synchronise one connection, in place of a sync that is under way.

    Args:
        row: the connection.

    Returns:
        The result; a failure is in `error`, and kept with the connection for the pages.
    """
    lease = begin(row.pk, take_over=True)
    if lease is None:
        return ProjectSync(row.cloud, row.region, error="it is disconnected")
    return _sync(row, lease)


def _sync(row: Connection, lease: Lease) -> ProjectSync:
    cloud, region = row.cloud, row.region
    try:
        return _attempt(row, lease)
    except Superseded:
        logger.info("sync of %s %s: superseded", cloud, region)
        why = "another synchronisation of it has begun, or it was disconnected: that one counts"
        return ProjectSync(cloud, region, error=why)
    except CssApiError as error:
        why, fault = str(error), fault_of(error)
        logger.warning("sync of %s %s failed: %s", cloud, region, why)
    except Exception as error:  # a defect: it must neither hinder the others nor go unseen
        why, fault = type(error).__name__, ConnectionFault.INTERNAL
        logger.exception("sync of %s %s failed", cloud, region)
    try:
        lease.end(sync_error=why[:2000], sync_fault=fault)
    except Superseded:
        logger.info("sync of %s %s: superseded after its failure", cloud, region)
    return ProjectSync(cloud, region, error=why)


def _attempt(row: Connection, lease: Lease) -> ProjectSync:
    """Read the list and store it. Raises CssApiError, Superseded."""
    here = Cluster.objects.present().filter(project__cloud=row.cloud, project__region=row.region)
    if not is_configured(row.cloud, row.region) and not here.exists():
        # It has left clouds.yaml and its clusters are marked as gone. Marking them is for people
        # (sync_clusters, disconnecting): perhaps only this machine's file does not have it.
        lease.end(sync_error="", sync_fault=ConnectionFault.NONE, listed=0, added=0, gone=0)
        return ProjectSync(row.cloud, row.region)
    connection = session.connect(row.cloud, row.region, timeouts=default_timeouts())
    identity = connection.identity()
    lease.tell(SyncStep.LISTING)
    listed = CssClient(connection, lease).list_clusters()
    lease.tell(SyncStep.STORING)
    return retry_while_unavailable(lambda: _store(identity, listed, lease))


def _store(identity: ProjectIdentity, listed: tuple[ClusterInfo, ...], lease: Lease) -> ProjectSync:
    # first, since it locks the connection's row: from here on no other sync of it can begin
    lease.renew()
    stored = store_list(identity, listed)
    lease.end(
        project=stored.project,
        synced_at=lease.started,
        sync_error="",
        sync_fault=ConnectionFault.NONE,
        listed=len(listed),
        added=stored.added,
        gone=stored.gone,
    )
    name = stored.project.name or stored.project.project_id
    return ProjectSync(
        identity.cloud, identity.region, name, len(listed), stored.added, stored.gone
    )


def _retired(cloud: str, region: str) -> ProjectSync:
    """The result for an entry that has left clouds.yaml."""
    name = Project.objects.filter(cloud=cloud, region=region).values_list("name", flat=True).first()
    Connection.objects.filter(cloud=cloud, region=region).update(
        sync_error="", sync_fault=ConnectionFault.NONE
    )
    return ProjectSync(cloud, region, name or "", gone=retire(cloud, region))
