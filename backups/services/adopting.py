"""Adopting a database that was copied or moved here: until then nothing is sent to a cloud."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from backups.choices import RunState
from backups.models import BackupRun, Instance
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record

from .runs.sweeping import take_over
from .runs.transitions import transition

NOT_SENT = (
    "Not sent by this instance: the run came with a copy of the database, and the instance that "
    "it came from may have sent it"
)


class NothingToAdopt(Exception):
    """The database is at home here; the message says so."""


class ReasonMissing(Exception):
    """Whoever adopts a database must say why; the message says so."""


def adopt(actor: Actor, reason: str, *, moved: bool) -> int:
    """Let this instance send what its database asks for.

    Runs that were accepted, or of which nobody knows whether they were sent, are settled by the
    cloud's records, which only reads.

    Args:
        actor: who adopts it.
        reason: why; it must not be empty.
        moved: the instance that the database comes from runs no more and has sent nothing since
            the copy was made: queued runs are sent from here. Else they are cancelled, since that
            instance may have sent them.

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
        if row is None or not Instance.objects.filter(
            pk=1, generation=row.generation, adopted=False
        ).update(adopted=True, generation=F("generation") + 1):
            raise NothingToAdopt(_("This database is at home here: there is nothing to adopt."))
        # nothing is claimed before a database is adopted: these claims came with the copy
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
            target_label=f"instance {row.uid}",
            reason=reason,
            before={"instance": row.origin},
            after={"instance": row.uid},
            details={"differs": row.differs, "moved": moved, "cancelled": cancelled},
        )
    return cancelled
