"""What belongs to a run beside the run itself: events of the audit trail, and its neighbours."""

from __future__ import annotations

from backups.choices import RunState
from backups.history.paging import Cursor, newer_than, older_than
from backups.models import BackupRun
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent, AuditEventQuerySet


def audit_events(user: User, run: BackupRun) -> AuditEventQuerySet | None:
    """All of them, the oldest first; None for who may not audit the run's project."""
    if not may(user, Permission.AUDIT, run.project):
        return None
    return AuditEvent.objects.about(run).order_by("at", "sequence")


def neighbours(run: BackupRun) -> dict[str, BackupRun | None]:
    """The runs of the same cluster just before and after this one, and the one that resolved it.

    A run that ended badly is resolved by the next one that verified a backup of the cluster.
    """
    columns = ("pk", "state", "settled_by_hand", "outcome", "requested_at")
    same = BackupRun.objects.filter(cluster=run.cluster_id).only(*columns)
    older = older_than(same, Cursor.of(run)).order_by("-requested_at", "-pk")
    newer = newer_than(same, Cursor.of(run)).order_by("requested_at", "pk")
    verified = newer.filter(state=RunState.SUCCEEDED)
    return {
        "run_before": older.first(),
        "run_after": newer.first(),
        "resolved_by": verified.first() if run.ended_badly else None,
    }
