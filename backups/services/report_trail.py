"""The part of a report that comes from the audit trail: what people did, and the chain's heads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from backups.models import Project
from dashboard.accounts.access import Permission, may, may_somewhere, permitted_q
from dashboard.accounts.models import User
from dashboard.audit.models import Action, AuditEvent, Verification

MOST_EVENTS = 10_000

# What people do: no sign-ins, no single backups (the history has them), nothing of the product's.
BY_HAND = (
    Action.BATCH_REQUESTED,
    Action.BATCH_CANCELLED,
    Action.RUN_CANCELLED,
    Action.RUN_SETTLED,
    Action.LOG_CHANGE_FAILED,
    Action.LOG_BACKUP_ENABLED,
    Action.LOG_BACKUP_CHANGED,
    Action.LOG_BACKUP_DISABLED,
    Action.LOG_POLICY_CHANGED,
    Action.LOG_POLICY_DISABLED,
    Action.CONNECTION_ADDED,
    Action.CONNECTION_REMOVED,
    Action.FILE_CHECKS_ENABLED,
    Action.FILE_CHECKS_DISABLED,
    Action.CLUSTER_REGISTERED,
    Action.CLUSTER_ARCHIVED,
    Action.CLUSTER_RESTORED,
    Action.NEED_HANDLED,
    Action.NEED_RETURNED,
    Action.OBJECTIVE_CHANGED,
    Action.SCHEDULE_CREATED,
    Action.SCHEDULE_CHANGED,
    Action.SCHEDULE_PAUSED,
    Action.SCHEDULE_RESUMED,
    Action.SCHEDULE_DELETED,
    Action.CHANNEL_ADDED,
    Action.CHANNEL_CHANGED,
    Action.CHANNEL_REMOVED,
    Action.NOTIFICATION_RULE_ADDED,
    Action.NOTIFICATION_RULE_REMOVED,
    Action.RETENTION_CHANGED,
    Action.GUARDS_RESTORED,
)
# A batch of a schedule is in its owner's name; only “Run now” comes with a request.
_BY_PEOPLE = (
    ~Q(action=Action.BATCH_REQUESTED) | ~Q(request_id="") | Q(details__schedule__isnull=True)
)


@dataclass(frozen=True, slots=True)
class TrailReport:
    """The audit trail in the range, for those who may read it.

    Attributes:
        events: what people did, oldest first; at most MOST_EVENTS.
        more: there were more of them.
        first, last: the first and the last event of the range, of all projects.
        verification: the last one that ended.
    """

    events: list[AuditEvent]
    more: bool
    first: AuditEvent | None
    last: AuditEvent | None
    verification: Verification | None


def trail_of(
    user: User, project: Project | None, begin: datetime, end: datetime
) -> TrailReport | None:
    """The audit trail; None for those who may not read it. Four queries."""
    allowed = (
        may(user, Permission.AUDIT, project) if project else may_somewhere(user, Permission.AUDIT)
    )
    if not allowed:
        return None
    inside = AuditEvent.objects.filter(at__gte=begin, at__lt=end)
    mine = inside.filter(
        permitted_q(user, Permission.AUDIT, "project_id"), _BY_PEOPLE, action__in=BY_HAND
    )
    if project:
        mine = mine.filter(project_id=project.pk)
    events = list(mine.order_by("at", "sequence")[: MOST_EVENTS + 1])
    return TrailReport(
        events=events[:MOST_EVENTS],
        more=len(events) > MOST_EVENTS,
        first=inside.order_by("at", "sequence").first(),
        last=inside.order_by("-at", "-sequence").first(),
        verification=Verification.objects.exclude(result="waiting").order_by("-pk").first(),
    )
