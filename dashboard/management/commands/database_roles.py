"""``manage.py database_roles``: SQL for a role that owns the tables and one that runs."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connection

from dashboard.commands import DatabaseCommand
from dashboard.db import triggers
from dashboard.db.roles import current_role, two_roles


class Command(DatabaseCommand):
    help = (
        "Print SQL that makes two roles of PostgreSQL: one that owns the tables and migrates, and "
        "one for web and workers that owns nothing, so that it cannot drop the triggers. With "
        "--check, print which one DATABASE_URL names. Exit status: 0, but 1 if --check finds a "
        "role that triggers do not bind, 2 for a name that cannot be used, 4 if the database "
        "cannot be used."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="print which role this is")
        parser.add_argument("--owner", default="css_owner", metavar="NAME")
        parser.add_argument("--runtime", default="css_dashboard", metavar="NAME")
        parser.add_argument("--schema", default="public", metavar="NAME", help="of the tables")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._check()
            return
        database = str(connection.settings_dict["NAME"])
        try:
            sql = two_roles(database, options["owner"], options["runtime"], options["schema"])
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(sql)

    def _check(self) -> None:
        role = current_role(connection, triggers.guarded_tables(connection))
        if role is None:
            raise CommandError(
                "SQLite has no roles: whoever can write the file can change it", returncode=1
            )
        if not role.is_bound:
            raise CommandError(role.in_words, returncode=1)
        self.stdout.write(role.in_words)
