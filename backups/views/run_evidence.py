"""What a run's page shows beside the run itself: the audit trail, its neighbours, settling it."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.utils import timezone

from backups.choices import Ruling, RunState
from backups.models import BackupRun, RunEvent
from backups.models.run_log import LONGEST_RULING
from backups.services.runs.related import audit_events
from backups.services.runs.settling import why_not
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent

MOST_EVENTS = 200  # of the audit trail on a page; its JSON has all


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """The audit trail's events about a run.

    Attributes:
        events: the oldest first, at most MOST_EVENTS.
        more: there are more.
    """

    events: list[AuditEvent]
    more: bool


def audit_trail(user: User, run: BackupRun) -> AuditTrail | None:
    """The audit trail's events about a run for its page; None for who may not audit its project."""
    found = audit_events(user, run)
    if found is None:
        return None
    events = list(found[: MOST_EVENTS + 1])
    return AuditTrail(events[:MOST_EVENTS], len(events) > MOST_EVENTS)


def ruling_of(run: BackupRun, events: list[RunEvent]) -> RunEvent | None:
    """The event of a run that was settled by hand: who, when and why."""
    if not run.settled_by_hand:
        return None
    settled = (e for e in events if e.from_state == RunState.UNKNOWN and e.to_state == run.state)
    return next(settled, None)


@dataclass(slots=True)
class Settling:
    """The form that settles a run by hand.

    Attributes:
        why_not: why that cannot be done now, "" where it can.
        ruling, reason: what was typed.
        problems: what was wrong with it, as sentences.
        wrong: the fields that were wrong.
    """

    why_not: str
    ruling: str = ""
    reason: str = ""
    problems: list[str] = field(default_factory=list)
    wrong: frozenset[str] = frozenset()

    choices = Ruling.choices
    longest = LONGEST_RULING


def settling(user: User, run: BackupRun) -> Settling | None:
    """The form for a run of which it is not known what became of it, for who may settle it."""
    if run.run_state is not RunState.UNKNOWN or not may(user, Permission.SETTLE, run.project):
        return None
    return Settling(why_not(run, timezone.now()))
