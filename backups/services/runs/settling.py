"""Settle a run by hand, if the cloud's records cannot settle it.

While it is unknown whether the cloud accepted a run's request, the run blocks its cluster until the
records show it. If they stay unreadable permanently (the account lost its permission, the project
is closed), an admin who found out elsewhere can say what happened. This never makes a run verified,
and it is rejected while reading the records may still settle the run.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from backups import uptime
from backups.choices import Ruling, RunState
from backups.models import BackupRun
from backups.models.run_log import LONGEST_RULING
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor

from .following import unread, unreadable_limit
from .requests import put_on_record
from .transitions import transition

# Records are read at least every 30 s (following.next_check). If the next reading is overdue by
# this much, they are not being read.
_LATE = timedelta(minutes=2)

_ENDS = {Ruling.STARTED: RunState.UNVERIFIED, Ruling.NOT_STARTED: RunState.NOT_STARTED}
_NOTES = {
    Ruling.STARTED: "Settled by hand, the cloud started a backup: ",
    Ruling.NOT_STARTED: "Settled by hand, the cloud started nothing: ",
}


class CannotSettle(Exception):
    """The run cannot be settled by hand, or not yet; the message says why."""


def open_from(run: BackupRun) -> datetime:
    """The time from which a run can be settled by hand, if its records stay unreadable until then.

    This takes as long as an accepted run with unreadable records is followed, and at least until
    readable records would have settled the run.
    """
    return timezone.now() + timedelta(seconds=_remaining(run))


def _remaining(run: BackupRun) -> float:
    """Seconds until the run can be settled by hand, by the product's own clock."""
    limit = max(unreadable_limit(), settings.BACKUP_SETTLE_GRACE)
    return limit - unread(run, uptime.now())


def why_not(run: BackupRun, now: datetime) -> str:
    """Why a run cannot be settled by hand at a given time; "" if it can."""
    if run.is_terminal:
        return _("The run has already ended: %(state)s.") % {"state": run.state_label}
    if run.run_state is not RunState.UNKNOWN:
        return _("It is known what became of the request, so there is nothing to settle.")
    if _remaining(run) > 0:
        return _(
            "The cloud's records are still being read and may settle it. By hand it can be settled "
            "from %(at)s UTC on, if they stay unreadable until then."
        ) % {"at": f"{open_from(run):%Y-%m-%d %H:%M:%S}"}
    if not run.checks or run.next_check_at is None or run.next_check_at < now - _LATE:
        return _("The cloud's records are not being read at present, so they may yet settle it.")
    return ""


def settle_by_hand(run: BackupRun, ruling: Ruling, *, actor: Actor, reason: str) -> None:
    """End an UNKNOWN run with what an admin found out, which frees its cluster.

    Args:
        run: the run as the caller knows it.
        ruling: what they found out. STARTED ends the run as UNVERIFIED, because no record proves a
            backup; NOT_STARTED as NOT_STARTED.
        actor: who settles it.
        reason: how they know, 1 to LONGEST_RULING characters.

    Raises:
        CannotSettle: there is no reason, or the run is not UNKNOWN, or the records may still
            settle it.
    """
    reason = reason.strip()
    if not reason:
        raise CannotSettle(_("Say how you know."))
    if problem := why_not(run, timezone.now()):
        raise CannotSettle(problem)
    before = {"state": str(run.state)}
    with transaction.atomic():
        if transition(
            run,
            _ENDS[ruling],
            actor=actor.name,
            note=_NOTES[ruling] + reason[:LONGEST_RULING],
            # Not if the records have become readable in the meantime: they take precedence.
            only_if=Q(records_readable_at=run.records_readable_at),
            settled_by_hand=True,
        ):
            after = {"state": str(run.state)}
            put_on_record(Action.RUN_SETTLED, run, actor, reason, before=before, after=after)
            return
    run.refresh_from_db()
    raise CannotSettle(why_not(run, timezone.now()) or _("It has changed meanwhile."))
