"""Whether a request is worth a word beforehand: the cloud would most likely refuse it."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

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


def would_be_refused(cluster: Cluster, *, wait_minutes: int = 0) -> bool:
    """Whether somebody who asks for a backup should first be told why it would come to nothing.

    It forbids nothing: a request is the better proof. Not known, or read too long ago, is no
    reason; neither is a run that is under way, which the request joins.

    Args:
        cluster: as the last check left it.
        wait_minutes: how long the request would wait for a busy cluster.
    """
    if cluster.gone_at or cluster.archived_at:
        return False  # it is refused for good (requests.CannotBackUp)
    readiness, checked_at = Readiness(cluster.readiness), cluster.checked_at
    if readiness not in _REFUSED or checked_at is None or checked_at < timezone.now() - FRESH:
        return False
    if readiness is Readiness.BUSY and wait_minutes:
        return False
    return not cluster.runs.filter(state__in=sorted(ACTIVE)).exists()
