"""Synchronisation of the registered clusters with the clouds. Nothing is ever deleted.

One synchronisation of a connection runs at a time, under a lease: `Connection.sync_started_at` is
its mark, `next_sync_at` its end. The last one begun counts: a list that was read under a lease that
has been lost since is not stored.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.utils import timezone

from backups.choices import ConnectionFault, SyncStep
from backups.css_api import config, session
from backups.css_api.client import CssClient, Exchange, ShownRequest
from backups.css_api.errors import ConfigurationError, CssApiError
from backups.css_api.types import ClusterInfo, ProjectIdentity
from backups.models import Cluster, Connection, Project
from backups.services.cloud import default_timeouts
from dashboard.db import leases
from dashboard.db.concurrency import retry_while_unavailable
from dashboard.db.leases import LeaseLost

from .diagnosis import fault_of
from .registering import retire, store_list

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProjectSync:
    """The result of synchronising one cloud and region.

    Attributes:
        cloud, region: the clouds.yaml entry and its region.
        project: the project's name, "" if it was not reached.
        listed: clusters in the list.
        added: new clusters.
        gone: clusters marked as gone.
        error: why it failed, "" if it did not; a failure changes nothing.
        aside: why a region that only the entry's profile names is not used, "" if it is.
    """

    cloud: str
    region: str
    project: str = ""
    listed: int = 0
    added: int = 0
    gone: int = 0
    error: str = ""
    aside: str = ""


def sync_clusters(cloud: str = "") -> list[ProjectSync]:
    """Synchronise every connected cloud and region, one after another.

    Args:
        cloud: only this entry of clouds.yaml; "" for all.

    Returns:
        A result for each cloud and region; a failure does not stop the others.

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
    results = [_unless_aside(result) for result in results]
    if cloud:
        why = "it is not connected: connect it on the page Connections"
        left_out = [entry for entry in chosen if entry not in connected]
        return results + [ProjectSync(*entry, error=why) for entry in left_out]
    places = Project.objects.values_list("cloud", "region").distinct().order_by("cloud", "region")
    left = [_retired(*place) for place in places if place not in configured]
    return results + [result for result in left if result.gone]


def connect_new_entries() -> None:
    """Connect entries of clouds.yaml that were never connected, if AUTO_CONNECT is on."""
    if not settings.AUTO_CONNECT:
        return
    try:
        configured = config.list_clouds()
        known = {
            (cloud, region): bool(left and error)
            for cloud, region, left, error in Connection.objects.values_list(
                "cloud", "region", "disconnected_at", "sync_error"
            )
        }
        for cloud, region in configured:
            aside = known.get((cloud, region))
            if aside is None:
                Connection.objects.get_or_create(cloud=cloud, region=region)
            elif aside and not config.region_is_guessed(cloud):
                # the entry names the region now
                _set_aside(cloud).filter(region=region).update(
                    disconnected_at=None, next_sync_at=None, version=F("version") + 1
                )
    except ConfigurationError:
        return  # the connections page and the command report the problem with the file


# With these, an account may simply not be in a region. They say nothing about the region itself.
_ELSEWHERE = (ConnectionFault.CATALOG, ConnectionFault.REFUSED, ConnectionFault.FORBIDDEN)


def _set_aside(cloud: str) -> QuerySet[Connection]:
    """The regions of an entry that `_set_guesses_aside` disconnected; users clear the error."""
    return Connection.objects.filter(cloud=cloud, disconnected_at__isnull=False).exclude(
        sync_error=""
    )


def _unless_aside(result: ProjectSync) -> ProjectSync:
    """The result, where its region was set aside since: without it as an error."""
    if result.error and _set_aside(result.cloud).filter(region=result.region).exists():
        return replace(result, error="", aside=result.error)
    return result


def _set_guesses_aside(cloud: str) -> None:
    """Disconnect regions that only the entry's profile names and that its account is not in.

    They count as guesses once another region of the entry has been reached. Their error stays, as
    the reason.

    Args:
        cloud: name of the entry.
    """
    rows = Connection.objects.connected().filter(cloud=cloud)
    try:
        guessed = config.region_is_guessed(cloud)
    except ConfigurationError:  # the file has become unreadable meanwhile
        return
    if not guessed or not rows.exclude(synced_at=None).exists():
        return
    strangers = rows.filter(synced_at=None, sync_started_at=None, sync_fault__in=_ELSEWHERE)
    strangers.exclude(sync_error="").update(
        disconnected_at=timezone.now(), version=F("version") + 1
    )


def is_configured(cloud: str, region: str) -> bool:
    """Whether clouds.yaml contains this entry and region.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    return (cloud, region) in config.list_clouds()


def sync_connection(connection_id: int) -> None:
    """Synchronise a connection and store the result with it.

    Args:
        connection_id: primary key; a connection that is missing, disconnected or being synchronised
            by another worker is skipped.
    """
    row = Connection.objects.connected().filter(pk=connection_id).first()
    lease = claim(connection_id) if row is not None else None
    if row is not None and lease is not None:
        _sync(row, lease)


def synchronise(row: Connection) -> ProjectSync:
    """Synchronise a connection, replacing a synchronisation in progress.

    Args:
        row: the connection.

    Returns:
        The result; it is also stored with the connection.
    """
    lease = claim(row.pk, take_over=True)
    if lease is None:
        return ProjectSync(row.cloud, row.region, error="it is disconnected")
    return _sync(row, lease)


def _sync(row: Connection, lease: SyncLease) -> ProjectSync:
    cloud, region = row.cloud, row.region
    try:
        result = _attempt(row, lease)
        _set_guesses_aside(cloud)
        return result
    except LeaseLost:
        logger.info("sync of %s %s: superseded", cloud, region)
        why = "another synchronisation has begun since, or it was disconnected"
        return ProjectSync(cloud, region, error=why)
    except CssApiError as error:
        why, fault = str(error), fault_of(error)
        logger.warning("sync of %s %s failed: %s", cloud, region, why)
    except Exception as error:  # a defect: log it and continue with the others
        why, fault = type(error).__name__, ConnectionFault.INTERNAL
        logger.exception("sync of %s %s failed", cloud, region)
    try:
        lease.release(sync_error=why[:2000], sync_fault=fault)
        _set_guesses_aside(cloud)
    except LeaseLost:
        logger.info("sync of %s %s: superseded after its failure", cloud, region)
    return ProjectSync(cloud, region, error=why)


def _attempt(row: Connection, lease: SyncLease) -> ProjectSync:
    """Read the list and store it. Raises CssApiError, LeaseLost."""
    here = Cluster.objects.present().filter(project__cloud=row.cloud, project__region=row.region)
    if not is_configured(row.cloud, row.region) and not here.exists():
        # Removed from clouds.yaml, and its clusters are marked as gone already. Only users mark
        # them (sync_clusters, disconnect): perhaps only this machine's file lacks the entry.
        lease.release(sync_error="", sync_fault=ConnectionFault.NONE, listed=0, added=0, gone=0)
        return ProjectSync(row.cloud, row.region)
    connection = session.connect(row.cloud, row.region, timeouts=default_timeouts())
    identity = connection.identity()
    lease.show_step(SyncStep.LISTING)
    listed = CssClient(connection, lease).list_clusters()
    lease.show_step(SyncStep.STORING)
    return retry_while_unavailable(lambda: _store(identity, listed, lease))


def _store(
    identity: ProjectIdentity, listed: tuple[ClusterInfo, ...], lease: SyncLease
) -> ProjectSync:
    # first: it locks the connection's row, so that no other synchronisation can begin
    lease.renew()
    stored = store_list(identity, listed)
    lease.release(
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
    """Mark the clusters of an entry that was removed from clouds.yaml as gone."""
    name = Project.objects.filter(cloud=cloud, region=region).values_list("name", flat=True).first()
    Connection.objects.filter(cloud=cloud, region=region).update(
        sync_error="", sync_fault=ConnectionFault.NONE
    )
    return ProjectSync(cloud, region, name or "", gone=retire(cloud, region))


# --- The lease -----------------------------------------------------------------------------------

# A message that no worker takes for this long expires, and the sync is dispatched again.
MESSAGE_LIFETIME = timedelta(seconds=60)
SHORTEST_LEASE = timedelta(minutes=2)
_random = SystemRandom()


def lease_time() -> timedelta:
    """How long one step may take: a request, a new token and the request repeated."""
    return max(SHORTEST_LEASE, timedelta(seconds=4 * settings.CSS_TOTAL_TIMEOUT))


def due_for_sync(limit: int) -> list[int]:
    """Claim the connections whose sync is due; each goes to one sweep only.

    Args:
        limit: the most connections to claim.

    Returns:
        Their primary keys.
    """
    now = timezone.now()
    dead = Q(sync_started_at__isnull=False)
    return leases.claim_due(
        Connection.objects.connected().order_by("next_sync_at"),
        Q(next_sync_at=None) | Q(next_sync_at__lte=now),
        limit,
        mark={"next_sync_at": now + MESSAGE_LIFETIME, "sync_started_at": None},
        sync_step=Case(When(dead, then=Value(SyncStep.WAITING)), default=F("sync_step")),
        version=F("version") + Case(When(dead, then=1), default=0),
    )


@dataclass(frozen=True, slots=True)
class SyncLease:
    """The right to synchronise a connection.

    Each method raises `leases.LeaseLost` where another synchronisation has begun meanwhile, or the
    entry was disconnected.

    Attributes:
        lease: the lease of the connection's row.
        started: when it was taken; no other lease of this connection has the same time.
    """

    lease: leases.Lease
    started: datetime

    def show_step(self, step: SyncStep) -> None:
        """Show what is being done, and renew the lease."""
        self.renew(sync_step=step, version=F("version") + 1)

    def renew(self, **columns: Any) -> None:
        """Renew the lease for another step."""
        self.lease.renew(next_sync_at=timezone.now() + lease_time(), **columns)

    def release(self, **columns: Any) -> None:
        """Store the result and end the lease.

        Args:
            columns: of the connection.
        """
        now = timezone.now()
        # jitter: not all connections at the same moment
        pause = timedelta(seconds=settings.SYNC_INTERVAL * _random.uniform(0.9, 1.1))
        self.lease.release(
            sync_step=SyncStep.NONE,
            sync_started_at=None,
            sync_ended_at=now,
            sync_duration=now - self.started,
            next_sync_at=now + pause,
            version=F("version") + 1,
            **columns,
        )

    def before_send(self, request: ShownRequest) -> None:
        """As the client's recorder: without the lease no further request is sent."""
        self.renew()

    def after(self, exchange: Exchange) -> None:
        """As the client's recorder: nothing to store."""


def claim(connection_id: int, *, take_over: bool = False) -> SyncLease | None:
    """Take the lease of a connection.

    Args:
        connection_id: primary key.
        take_over: also from a synchronisation that is under way, whose result is then discarded.

    Returns:
        The lease; None where another holds it, or the connection is disconnected or gone.
    """
    started = timezone.now()
    lease = leases.claim(
        Connection.objects.connected().filter(pk=connection_id),
        Q() if take_over else Q(sync_started_at=None) | Q(sync_started_at=started),
        {"sync_started_at": started},
        sync_step=SyncStep.SIGNING_IN,
        next_sync_at=started + lease_time(),
        version=F("version") + 1,
    )
    return SyncLease(lease, started) if lease is not None else None
