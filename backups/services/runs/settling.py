"""Settling by hand: somebody's word ends a run that the cloud's records cannot settle.

A run of which nobody knows whether the cloud took it holds its cluster's slot until the records
tell. Where they stay unreadable for good (the account's permission is gone, the project is closed)
that would be for ever, so an admin who looked elsewhere may say what happened. Nothing becomes
verified by it, and it is refused for as long as reading may still settle the run.
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

# Records are read every half minute at least (following.next_check); what is later is not read.
_LATE = timedelta(minutes=2)

_ENDS = {Ruling.STARTED: RunState.UNVERIFIED, Ruling.NOT_STARTED: RunState.NOT_STARTED}
_NOTES = {
    Ruling.STARTED: "Settled by hand, the cloud started a backup: ",
    Ruling.NOT_STARTED: "Settled by hand, the cloud started nothing: ",
}


class CannotSettle(Exception):
    """The run cannot be settled by hand, or not yet; the message says why."""


def open_from(run: BackupRun) -> datetime:
    """From when on a run may be settled by hand, where its records stay unreadable until then.

    As long as an accepted run with unreadable records is followed; at least until the records, had
    they been readable, would have settled it.
    """
    return timezone.now() + timedelta(seconds=_remaining(run))


def _remaining(run: BackupRun) -> float:
    """Seconds until then, as the product ticks."""
    limit = max(unreadable_limit(), settings.BACKUP_SETTLE_GRACE)
    return limit - unread(run, uptime.now())


def why_not(run: BackupRun, now: datetime) -> str:
    """Why a run cannot be settled by hand at a moment; "" where it can."""
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
    """End an UNKNOWN run by what somebody found out, which sets its cluster free.

    Args:
        run: the run as the caller knows it.
        ruling: what they found out. STARTED ends it as UNVERIFIED, since no record proves a backup;
            NOT_STARTED as NOT_STARTED.
        actor: who says so.
        reason: how they know, 1 to LONGEST_RULING characters.

    Raises:
        CannotSettle: no reason, or the run has ended or may yet be settled by the records.
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
            # What a reading has found meanwhile counts more than anybody's word.
            only_if=Q(records_readable_at=run.records_readable_at),
            settled_by_hand=True,
        ):
            after = {"state": str(run.state)}
            put_on_record(Action.RUN_SETTLED, run, actor, reason, before=before, after=after)
            return
    run.refresh_from_db()
    raise CannotSettle(why_not(run, timezone.now()) or _("It has changed meanwhile."))
