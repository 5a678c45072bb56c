"""Data related to a run: its audit events, and other runs of its cluster."""

from __future__ import annotations

from backups.choices import ENDED_BADLY, RunState
from backups.lists.history import RUN_KEYSET
from backups.models import BackupRun
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent, AuditEventQuerySet
from dashboard.db.keyset import PageQuery


def audit_events(user: User, run: BackupRun) -> AuditEventQuerySet | None:
    """Audit events of a run, oldest first; None if the user may not audit the run's project."""
    if not may(user, Permission.AUDIT, run.project):
        return None
    return AuditEvent.objects.about(run).order_by("at", "sequence")


def neighbours(run: BackupRun) -> dict[str, BackupRun | None]:
    """The runs of the same cluster just before and just after this one."""
    columns = ("pk", "state", "settled_by_hand", "outcome", "requested_at")
    same = BackupRun.objects.filter(cluster=run.cluster_id).only(*columns)
    cursor = RUN_KEYSET.cursor(run)
    older = RUN_KEYSET.select(same, PageQuery(older=cursor))
    newer = RUN_KEYSET.select(same, PageQuery(newer=cursor))
    return {"run_before": older.first(), "run_after": newer.first()}


def resolved_by(run: BackupRun) -> BackupRun | None:
    """The next verified run of the cluster after one that ended badly; None if there is none.

    If there is one, the action that the failed run asks for has been taken or was not needed.
    """
    if run.run_state not in ENDED_BADLY:
        return None
    later = BackupRun.objects.filter(cluster=run.cluster_id, state=RunState.SUCCEEDED)
    cursor = RUN_KEYSET.cursor(run)
    return RUN_KEYSET.select(later, PageQuery(newer=cursor)).first()
