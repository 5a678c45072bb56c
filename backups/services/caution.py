"""Whether a request is worth a word beforehand: the cloud would most likely refuse it."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import ACTIVE, Readiness
from backups.models import Cluster

# What was read longer ago says too little about now to stand in anybody's way.
FRESH = timedelta(minutes=10)

_REFUSED = frozenset(
    {
        Readiness.UNAVAILABLE,
        Readiness.BACKUP_OFF,
        Readiness.STORAGE_MISSING,
        Readiness.BUSY,
    }
)


def why_impossible(cluster: Cluster) -> str:
    """Why a cluster cannot be backed up at all, "" where it can."""
    if cluster.gone_at:
        return _("This cluster has gone from the cloud: there are no logs left to back up.")
    if cluster.archived_at:
        return _("This cluster is archived: restore it first.")
    if cluster.project.is_disconnected:
        return _("The cloud of this cluster is disconnected: connect it first.")
    return ""


def would_be_refused(cluster: Cluster, *, wait_minutes: int = 0) -> bool:
    """Whether somebody who asks for a backup should first be told why it would come to nothing.

    It forbids nothing: a request is the better proof. Not known, or read too long ago, is no
    reason; neither is a run that is under way, which the request joins.

    Args:
        cluster: as the last check left it.
        wait_minutes: how long the request would wait for a busy cluster.
    """
    readiness, checked_at = Readiness(cluster.readiness), cluster.checked_at
    if readiness not in _REFUSED or checked_at is None or checked_at < timezone.now() - FRESH:
        return False
    if readiness is Readiness.BUSY and wait_minutes:
        return False
    if why_impossible(cluster):
        return False  # the request itself is refused, for a better reason
    return not cluster.runs.filter(state__in=sorted(ACTIVE)).exists()
