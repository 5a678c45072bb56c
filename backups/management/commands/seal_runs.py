"""``manage.py seal_runs``: seal runs that ended before runs were sealed."""

from __future__ import annotations

from typing import Any

from backups.services.runs.sealing import pend_existing, seal_all
from dashboard.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = (
        "Seal the ended runs that have no seal in the audit trail, and those that wait for theirs. "
        "The former are marked as existing: their seals prove that they have not changed since "
        "now. Exit status: 0 if everything is sealed, 4 if the database cannot be used."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = pend_existing()
        seal_all()
        runs, are = ("run", "is") if found == 1 else ("runs", "are")
        self.stdout.write(f"{found} {runs} that had ended without a seal {are} sealed now")
