"""``manage.py restore_guards``: create the database triggers of the history again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.db import connection, transaction

from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.commands import DatabaseCommand
from dashboard.db import triggers


class Command(DatabaseCommand):
    help = (
        "Create the triggers that protect audit trail and history again, as audit_verify compares "
        "them, and record that. Needs the owner of the tables. Exit status: 0 if they are as they "
        "should be, 1 if something else disarms them, 4 if the database cannot be used."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            found = triggers.restore(connection)
            left = triggers.missing(connection)
            if found - left:
                details = {"restored": sorted(found - left)}
                actor = Actor.process("restore_guards (command line)")
                record(Action.GUARDS_RESTORED, actor=actor, details=details)
        self.stdout.write(f"restored: {', '.join(sorted(found - left)) or 'nothing'}")
        if left:
            raise CommandError(
                f"remove by hand, as the owner of the tables: {', '.join(sorted(left))}",
                returncode=1,
            )
