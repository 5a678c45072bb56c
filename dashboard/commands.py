"""What the product's commands have in common."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

DATABASE_AWAY = 4


class DatabaseCommand(BaseCommand):
    """A command whose exit status tells “no database” apart from its own results.

    Without this, a database that cannot be reached ends in a traceback and status 1, which means
    something else for most commands: “broken” for `audit_verify`, “not verified” for `backup`.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command.

        Raises:
            CommandError: status 4 where the database cannot be reached or used.
        """
        try:
            return super().execute(*args, **options)
        except Error as error:
            why = " ".join(str(error).split())[:300]
            raise CommandError(
                f"the database is not usable: {why}", returncode=DATABASE_AWAY
            ) from error
