"""What retention does to the audit trail, in one call each."""

from __future__ import annotations

from datetime import datetime

from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.retention import Prunable, delete_anchored, mask_events, move_anchor
from dashboard.audit.trail import Action, Actor, record


def prune(before: datetime, *, actor: Actor, reason: str = "") -> int:
    """Delete the oldest events, all those up to the first that is not older than `before`.

    The retention run is itself an event. It commits first, with the anchor that keeps the last
    hash; deleting follows in small transactions, and one that was interrupted is finished by the
    next call.

    Args:
        before: the oldest time that is kept.
        actor: who wants it.
        reason: why.

    Returns:
        How many events the anchor was moved over; `prunable` tells beforehand.
    """

    def tell(found: Prunable) -> AuditEvent:
        details = {
            "class": "audit",
            "before": before,
            "first": found.first,
            "last": found.last,
            "events": found.events,
            "hash": found.hash,
        }
        return record(Action.RETENTION_RUN, actor=actor, reason=reason, details=details)

    events = move_anchor(before, tell)
    delete_anchored()
    return events


def mask(before: datetime, *, actor: Actor, person: User | None = None, reason: str = "") -> int:
    """Take names, accounts, addresses and user agents out of old events; the chain still holds.

    Args:
        before: only events older than this.
        actor: who wants it.
        person: only events of or about this account.
        reason: why.

    Returns:
        How many events were masked; `maskable` tells beforehand.
    """

    def tell(events: int) -> AuditEvent:
        details = {"before": before, "events": events, "account": person.pk if person else None}
        return record(Action.PERSONAL_DATA_MASKED, actor=actor, reason=reason, details=details)

    return mask_events(before, person, tell)
