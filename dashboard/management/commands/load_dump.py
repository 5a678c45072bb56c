"""``manage.py load_dump``: move the data of another database into this one."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.serializers.base import DeserializationError
from django.db import connection, transaction

from dashboard.commands import DatabaseCommand
from dashboard.db import triggers
from dashboard.db.concurrency import unapplied_migrations
from dashboard.members.recording import not_recorded


class Command(DatabaseCommand):
    help = (
        "Load a file of dumpdata into this database, which must be migrated and empty. loaddata "
        "cannot do it: the guards refuse rows of ended runs and old events. Exit status: 0 if "
        "everything was loaded, 1 if the file is unusable, 2 if it is missing or the database is "
        "not empty, 4 if the database cannot be used; but for 0, nothing was loaded."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dump", type=Path, help="the file, as written by dumpdata --output")

    def handle(self, *, dump: Path, **options: Any) -> None:
        if not dump.is_file():
            raise CommandError(f"{dump} is not a file", returncode=2)
        if unapplied_migrations(connection):
            raise CommandError("the database is not migrated: run manage.py migrate", returncode=2)
        with transaction.atomic():
            if rows := sorted(filter(_has_rows, triggers.guarded_tables(connection))):
                raise CommandError(f"the database is not empty: {', '.join(rows)}", returncode=2)
            for guards in triggers.CONNECTED:
                guards.remove(connection)
            try:
                with not_recorded():
                    call_command("loaddata", str(dump), verbosity=options["verbosity"])
            except DeserializationError as error:
                raise CommandError(f"{dump} is unusable: {error}") from error
            # PostgreSQL creates no trigger on a table with deferred checks
            connection.check_constraints()
            for guards in triggers.CONNECTED:
                guards.install(connection)


def _has_rows(table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - a name from our own SQL
        return cursor.fetchone() is not None
