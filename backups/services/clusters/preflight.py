"""Whether a cluster can be backed up: not at all, or not while the cloud would reject it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import ACTIVE, Readiness
from backups.models import Cluster, Project

# A check that is older than this says too little about now for a warning.
FRESH = timedelta(minutes=10)

_REJECTED = frozenset(
    {
        Readiness.UNAVAILABLE,
        Readiness.BACKUP_OFF,
        Readiness.STORAGE_MISSING,
        Readiness.BUSY,
    }
)


def blocked_reasons(clusters: Iterable[Cluster]) -> dict[int, str]:
    """Why clusters cannot be backed up at all; one query.

    A request for such a cluster is always refused, whoever makes it. What an account may do is
    another matter (`dashboard.accounts.access`).

    Args:
        clusters: as they were read.

    Returns:
        A sentence by primary key; clusters that can be backed up are left out.
    """
    listed = list(clusters)
    projects = Project.objects.filter(pk__in={cluster.project_id for cluster in listed})
    disconnected = set(projects.disconnected().values_list("pk", flat=True)) if listed else set()
    reasons = {}
    for cluster in listed:
        if cluster.gone_at:
            reason = _("This cluster has gone from the cloud: there are no logs left to back up.")
        elif cluster.archived_at:
            reason = _("This cluster is archived: restore it first.")
        elif cluster.project_id in disconnected:
            reason = _("The cloud of this cluster is disconnected: connect it first.")
        else:
            continue
        reasons[cluster.pk] = reason
    return reasons


def blocked_reason(cluster: Cluster) -> str:
    """Why a cluster cannot be backed up at all, "" where it can; as `blocked_reasons`."""
    return blocked_reasons([cluster]).get(cluster.pk, "")


def would_be_rejected(cluster: Cluster, *, wait_minutes: int = 0) -> bool:
    """Pre-flight check: warn before sending a request that the cloud would probably reject.

    It is advice: the request can be sent anyway. There is no warning where the readiness is not
    known or was read too long ago, where the cluster cannot be backed up at all (the request says
    so), and where a run is in progress, which the request joins.

    Args:
        cluster: as the last check left it.
        wait_minutes: how long the request would wait for a busy cluster.
    """
    readiness, checked_at = Readiness(cluster.readiness), cluster.checked_at
    if readiness not in _REJECTED or checked_at is None or checked_at < timezone.now() - FRESH:
        return False
    if readiness is Readiness.BUSY and wait_minutes:
        return False
    return not blocked_reason(cluster) and not cluster.runs.filter(state__in=ACTIVE).exists()
