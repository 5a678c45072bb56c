"""Base class of the product's management commands."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

DATABASE_AWAY = 4


class DatabaseCommand(BaseCommand):
    """Command with a separate exit status for an unusable database.

    Otherwise an unreachable database would cause a traceback and status 1, which has another
    meaning for most commands: “broken” for `audit_verify`, “not verified” for `backup`.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command.

        Raises:
            CommandError: the database cannot be reached or used; the status is 4.
        """
        try:
            return super().execute(*args, **options)
        except Error as error:
            why = " ".join(str(error).split())[:300]
            raise CommandError(
                f"the database is not usable: {why}", returncode=DATABASE_AWAY
            ) from error
