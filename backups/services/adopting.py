"""Adopting a database that was copied or moved: until then nothing is sent to a cloud."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from backups.choices import RunState
from backups.models import BackupRun, Instance
from backups.models.instance import new_uid
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record

from .runs.sweeping import take_over
from .runs.transitions import transition

NOT_SENT = (
    "Not sent by this instance: the run came with a copy of the database, and the instance that "
    "it came from may have sent it"
)


class NothingToAdopt(Exception):
    """The database is adopted already; the message says so."""


class ReasonMissing(Exception):
    """No reason was given; the message says so."""


def adopt(actor: Actor, reason: str, *, moved: bool) -> int:
    """Allow this instance to send what its database asks for.

    Accepted runs, and runs that may have been sent, are settled by the cloud's records, which only
    reads. Where another instance has the same id, this one gets an id
    of its own; web and workers must then be restarted.

    Args:
        actor: who adopts it.
        reason: why; it must not be empty.
        moved: the original instance has stopped, and has sent nothing since the copy was made, so
            queued runs are sent from here. Otherwise they are cancelled, because the original may
            have sent them.

    Returns:
        How many queued runs were cancelled.

    Raises:
        NothingToAdopt: it is adopted already.
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
            raise NothingToAdopt(_("This database is at home here: there is nothing to adopt."))
        uid = renamed.get("uid", row.uid)
        # no run is claimed before adoption: these claims came with the copy, or are fenced off
        for run in BackupRun.objects.filter(state=RunState.SENDING).order_by("pk"):
            take_over(run, why="The run came with a copy of the database")
        queued = BackupRun.objects.filter(state=RunState.QUEUED).order_by("pk")
        cancelled = 0
        if not moved:
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
