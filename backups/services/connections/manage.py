"""Managing connections: connect, disconnect, synchronise now, register a cluster by its id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import ConnectionFault, Outcome, SyncStep
from backups.css_api import config, session
from backups.css_api.client import CssClient
from backups.css_api.errors import ApiError, ConfigurationError, CssApiError, MalformedAnswer
from backups.css_api.types import BodyKind, ClusterInfo, ProjectIdentity
from backups.models import Cluster, Connection
from backups.rules.outcomes import outcome_of
from backups.services.cloud import INTERACTIVE
from backups.services.dispatch import dispatch_sync
from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record

from . import sync
from .diagnosis import Diagnosis, diagnose, fault_of
from .registering import check_again, forget_readiness, retire, store_one, store_project

# After this the sweeper starts a requested synchronisation whose message was lost.
_LOST_AFTER = timedelta(seconds=10)


class RegisterError(Exception):
    """A cluster cannot be registered; the message can be shown.

    Attributes:
        fault: the kind of error, where the cloud could not be reached or its response was invalid.
        cluster: the existing row, None where there is none.
    """

    def __init__(
        self,
        text: str,
        fault: ConnectionFault = ConnectionFault.NONE,
        cluster: Cluster | None = None,
    ) -> None:
        super().__init__(text)
        self.fault = fault
        self.cluster = cluster


@dataclass(frozen=True, slots=True)
class Entry:
    """A region of a clouds.yaml entry.

    Attributes:
        cloud, region: their names.
        configured: whether clouds.yaml contains it.
        connection: its row, None if it was never connected.
    """

    cloud: str
    region: str
    configured: bool
    connection: Connection | None

    @property
    def connected(self) -> bool:
        return self.connection is not None and self.connection.disconnected_at is None

    @property
    def set_aside(self) -> bool:
        """Whether it is a region that only the profile names and the account is not in."""
        row = self.connection
        return row is not None and row.disconnected_at is not None and bool(row.sync_error)


def entries(user: User, *, all_of_them: bool) -> tuple[list[Entry], str]:
    """The entries that are configured or were connected.

    Args:
        user: the user.
        all_of_them: also entries without a project that the user may see; for administrators.

    Returns:
        The entries by name, and the problem with clouds.yaml, "" where there is none.
    """
    problem = ""
    rows = Connection.objects.select_related("project")
    if not all_of_them:
        rows = rows.visible_to(user).exclude(project=None)
    known = {(row.cloud, row.region): row for row in rows}
    try:
        configured = set(config.list_clouds())
    except ConfigurationError as error:  # the file's content is unknown
        configured, problem = set(known), str(error)
    names = known.keys() | configured if all_of_them else known.keys()
    listed = [
        Entry(cloud, region, (cloud, region) in configured, known.get((cloud, region)))
        for cloud, region in sorted(names)
    ]
    # a guess that the entry no longer makes leaves nothing behind
    return [entry for entry in listed if entry.configured or not entry.set_aside], problem


def is_configured(cloud: str, region: str) -> bool:
    """Whether clouds.yaml contains this entry and region."""
    try:
        return sync.is_configured(cloud, region)
    except ConfigurationError:
        return False


def test(cloud: str, region: str, actor: Actor) -> Diagnosis:
    """Test an entry, and record that in the audit trail.

    Args:
        cloud, region: an entry that `is_configured`.
        actor: for the audit trail.
    """
    found = diagnose(cloud, region)
    record(
        Action.CONNECTION_TESTED,
        actor=actor,
        target_label=" / ".join(part for part in (cloud, region) if part),
        details={"passed": found.passed, "steps": [step.state.value for step in found.steps]},
    )
    return found


def connect(cloud: str, region: str, actor: Actor) -> Connection:
    """Connect an entry: it is synchronised now and periodically.

    Args:
        cloud, region: an entry that `is_configured`.
        actor: for the audit trail.
    """
    with transaction.atomic():
        row, made = Connection.objects.get_or_create(cloud=cloud, region=region)
        left = Connection.objects.filter(pk=row.pk, disconnected_at__isnull=False)
        back = left.update(disconnected_at=None, sync_started_at=None)
        _sync_soon(row)
        if back and row.project_id is not None:
            check_again(row.project_id)
        if made or back:
            record(Action.CONNECTION_ADDED, actor=actor, target=row, project=row.project)
    return row


def disconnect(row: Connection, actor: Actor, reason: str = "") -> None:
    """Disconnect an entry; the result of a synchronisation in progress is discarded.

    Its clusters and their history stay. If the entry was removed from clouds.yaml, its clusters
    cannot be reached any more and are marked as gone.

    Args:
        row: the connection.
        actor: for the audit trail.
        reason: free text.
    """
    try:
        left = not sync.is_configured(row.cloud, row.region)
    except ConfigurationError:
        left = False
    with transaction.atomic():
        stopped = Connection.objects.filter(pk=row.pk, disconnected_at=None).update(
            disconnected_at=timezone.now(),
            sync_step=SyncStep.NONE,
            sync_started_at=None,
            sync_error="",
            sync_fault=ConnectionFault.NONE,
            version=F("version") + 1,
        )
        if stopped:
            project = row.project_id
            others = Connection.objects.connected().filter(project=project)
            if project is not None and not others.exists():
                forget_readiness(project)
            gone = retire(row.cloud, row.region) if left else 0
            record(
                Action.CONNECTION_REMOVED,
                actor=actor,
                target=row,
                project=row.project,
                reason=reason,
                details={"gone": gone} if left else None,
            )


def set_file_checks(row: Connection, actor: Actor, *, on: bool) -> bool:
    """Switch the check of files in the bucket on or off, for verified runs from now on.

    Args:
        row: the connection.
        actor: for the audit trail.
        on: whether to check.

    Returns:
        False if it was so already.
    """
    with transaction.atomic():
        other = Connection.objects.filter(pk=row.pk, file_checks=not on)
        changed = other.update(file_checks=on, version=F("version") + 1)
        if changed:
            action = Action.FILE_CHECKS_ENABLED if on else Action.FILE_CHECKS_DISABLED
            record(action, actor=actor, target=row, project=row.project)
    return bool(changed)


def request_sync(row: Connection, actor: Actor) -> bool:
    """Synchronise a connection now.

    Args:
        row: the connection.
        actor: for the audit trail.

    Returns:
        False if a synchronisation is already in progress.
    """
    with transaction.atomic():
        soon = _sync_soon(row)
        record(Action.SYNC_REQUESTED, actor=actor, target=row, project=row.project)
    return soon


def _sync_soon(row: Connection) -> bool:
    idle = Connection.objects.connected().filter(pk=row.pk, sync_started_at=None)
    soon = idle.update(
        next_sync_at=timezone.now() + _LOST_AFTER,
        sync_step=SyncStep.WAITING,
        version=F("version") + 1,
    )
    if soon:
        transaction.on_commit(lambda: dispatch_sync([row.pk]))
    return bool(soon)


def register_by_hand(row: Connection, cluster_id: str, actor: Actor) -> Cluster:
    """Register a cluster by its id, if the cloud returns it.

    Args:
        row: the connection to use.
        cluster_id: the cloud's id.
        actor: for the audit trail.

    Raises:
        RegisterError: it is already registered, or the cloud does not return it.
    """
    identity, info = _ask(row, cluster_id)
    with transaction.atomic():
        project = store_project(identity)
        cluster, fresh = store_one(project, info)
        if not fresh:
            text = _("The cluster is already registered as “%(name)s”.")
            if cluster.archived_at is not None:
                text = _("The cluster is already registered as “%(name)s”, and archived.")
            raise RegisterError(text % {"name": cluster.name}, cluster=cluster)
        record(
            Action.CLUSTER_REGISTERED,
            actor=actor,
            target=cluster,
            project=project,
            details={"cluster_id": info.id},
        )
    return cluster


def _ask(row: Connection, cluster_id: str) -> tuple[ProjectIdentity, ClusterInfo]:
    """Read the cluster from the cloud. Raises RegisterError."""
    try:
        connection = session.connect(row.cloud, row.region, timeouts=INTERACTIVE)
        identity = connection.identity()
        info = CssClient(connection).get_cluster(cluster_id)
    except CssApiError as error:
        if _is_unknown(error):
            raise RegisterError(
                _(
                    "Cluster %(id)s does not exist in project %(project)s, or the entry's user "
                    "may not see it. Check the id in the cloud's console, and the connection."
                )
                % {"id": cluster_id, "project": identity.project_name or identity.project_id}
            ) from error
        raise RegisterError(str(error), fault_of(error)) from error
    if info.id != cluster_id:
        text = _("The cloud returned another cluster than %(id)s.")
        raise RegisterError(text % {"id": cluster_id}, ConnectionFault.MALFORMED)
    return identity, info


def _is_unknown(error: CssApiError) -> bool:
    """Whether the service itself says that the cluster does not exist."""
    if not isinstance(error, ApiError) or isinstance(error, MalformedAnswer):
        return False
    # an HTML page comes from a proxy
    page = error.answer.body_kind is BodyKind.HTML
    return outcome_of(error.answer) is Outcome.NOT_FOUND and not page
