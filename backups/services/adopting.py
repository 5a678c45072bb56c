"""Adopting a copied or moved database: until then nothing is sent to a cloud."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from backups.choices import ItemState, RunState
from backups.models import BackupRun, BatchItem, Firing, Instance, Schedule
from backups.models.processes import new_uid
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record

from .notifications.queueing import drop_unsent
from .runs.sweeping import take_over
from .runs.transitions import transition
from .schedules.firing import switch_off

NOT_SENT = (
    "Not sent by this instance: the run is from a copied database, and the original instance "
    "may have sent it"
)

COPIED = "It is from a copied database, and the original instance fires it. Resume it to fire here."


class NothingToAdopt(Exception):
    """The database belongs to this instance already; the message says so."""


class ReasonMissing(Exception):
    """A reason is required; the message says so."""


def adopt(actor: Actor, reason: str, *, moved: bool) -> int:
    """Adopt the database: this instance sends its runs from now on.

    Runs that were accepted or may have been sent are settled by the cloud's records, which are only
    read. Where another instance has the same id, this one gets a new id; web and workers must then
    be restarted.

    Args:
        actor: for the audit trail.
        reason: free text, required.
        moved: the database was moved: the original instance no longer runs and has sent nothing
            since the copy was made. Queued runs and what waits in batches are then sent from
            here. Otherwise they are cancelled, because the original instance may have sent them,
            and schedules are switched off, because it fires them.

    Returns:
        The number of cancelled runs.

    Raises:
        NothingToAdopt: it was adopted already.
        ReasonMissing: no reason was given.
    """
    if not reason.strip():
        raise ReasonMissing(_("A reason is required."))
    with transaction.atomic():
        row = Instance.objects.filter(pk=1).first()
        renamed = {"uid": new_uid()} if row is not None and row.clashes else {}
        if row is None or not Instance.objects.filter(
            pk=1, generation=row.generation, adopted=False
        ).update(adopted=True, generation=F("generation") + 1, **renamed):
            raise NothingToAdopt(
                _("This database belongs to this instance already: there is nothing to adopt.")
            )
        uid = renamed.get("uid", row.uid)
        # no run is claimed before adoption: these claims are from the copy, or are fenced off
        for run in BackupRun.objects.filter(state=RunState.SENDING).order_by("pk"):
            take_over(run, why="The run is from a copied database")
        queued = BackupRun.objects.filter(state=RunState.QUEUED).order_by("pk")
        cancelled = 0
        if not moved:
            # the original instance continues its batches
            waiting = BatchItem.objects.filter(state__in=[ItemState.WAITING, ItemState.WORKING])
            waiting.update(state=ItemState.CANCELLED)
            drop_unsent("from a copied database")  # and it sends these messages
            _stop_schedules(actor)
            cancelled = sum(
                transition(run, RunState.CANCELLED, actor=actor.name, note=NOT_SENT)
                for run in queued
            )
        record(
            Action.INSTANCE_ADOPTED,
            actor=actor,
            target_label=f"instance {uid}",
            reason=reason,
            before={"instance": row.origin},
            after={"instance": uid},
            details={"differs": row.differs, "moved": moved, "cancelled": cancelled},
        )
    return cancelled


def _stop_schedules(actor: Actor) -> None:
    """Switch off what the original instance goes on to fire, and to ping for."""
    Firing.objects.filter(awaits_ping=True).update(awaits_ping=False)
    for schedule in Schedule.objects.existing().filter(is_on=True).order_by("pk"):
        switch_off(schedule, COPIED, actor)
