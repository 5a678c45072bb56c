"""Guards: database triggers that reject changes to immutable rows, or record changes of others.

Each app defines them in `sql/guards.sqlite.sql` and `sql/guards.postgresql.sql`; what only SQLite
needs is in `sql/replace.sqlite.sql`. The owner of the database can drop triggers; they protect
against all other users and against bugs in this code.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db import connections, migrations, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models.signals import post_migrate, pre_migrate

from . import definitions
from .concurrency import unapplied_migrations

logger = logging.getLogger(__name__)
Plan = Iterable[tuple[Any, bool]]  # (migration, is reversed)

_TRIGGER = re.compile(
    r"^CREATE TRIGGER (\w+)\s+(?:BEFORE|AFTER) \w+(?: OF [\w, ]+)? ON (\w+)", re.MULTILINE
)
_FUNCTION = re.compile(r"^CREATE FUNCTION (\w+)\(\)", re.MULTILINE)
_SQLITE_STATEMENT = re.compile(r"^(CREATE TRIGGER (\w+)\s.*?^END);$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Guards:
    """Guards of one app.

    Attributes:
        app: label of the app.
        folder: folder of the SQL files.
    """

    app: str
    folder: Path

    def _text(self, connection: BaseDatabaseWrapper) -> str:
        text = (self.folder / f"guards.{connection.vendor}.sql").read_text()
        more = self.folder / f"replace.{connection.vendor}.sql"
        return f"{text}\n{more.read_text()}" if more.exists() else text

    def sql(self, connection: BaseDatabaseWrapper) -> str:
        """Return the SQL for this database, with `{schema}` filled in on PostgreSQL."""
        text = self._text(connection)
        if _is_postgresql(connection):
            text = text.replace("{schema}", _schema_of(connection, _TRIGGER.findall(text)[0][1]))
        return text

    def names(self, connection: BaseDatabaseWrapper) -> set[str]:
        """Return the names of the triggers that this database should have."""
        return {name for name, _ in _TRIGGER.findall(self.sql(connection))}

    def tables(self, connection: BaseDatabaseWrapper) -> set[str]:
        """Return the names of the guarded tables."""
        return {table for _, table in _TRIGGER.findall(self.sql(connection))}

    def missing(self, connection: BaseDatabaseWrapper) -> set[str]:
        """Return the triggers that are absent, disabled or different from the file.

        On PostgreSQL, a trigger is also different if its function is.
        """
        sql = self.sql(connection)
        if _is_postgresql(connection):
            return definitions.different(connection, sql)
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        with connection.cursor() as cursor:
            cursor.execute(query)
            present = dict(cursor.fetchall())
        expected = _SQLITE_STATEMENT.findall(sql)
        return {name for statement, name in expected if present.get(name) != statement}

    def install(self, connection: BaseDatabaseWrapper) -> None:
        """Create the triggers, replacing those of the same names."""
        self.remove(connection)
        sql = self.sql(connection)
        with connection.cursor() as cursor:
            if _is_postgresql(connection):
                cursor.execute(sql)
            else:  # SQLite executes one statement at a time
                for statement, _ in _SQLITE_STATEMENT.findall(sql):
                    cursor.execute(statement)

    def remove(self, connection: BaseDatabaseWrapper) -> None:
        """Drop the triggers, for migrations and tests."""
        text = self._text(connection)
        on = " ON {}" if _is_postgresql(connection) else ""
        with connection.cursor() as cursor:
            for name, table in _TRIGGER.findall(text):
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on.format(table)}")
            for name in _FUNCTION.findall(text):
                cursor.execute(f"DROP FUNCTION IF EXISTS {name}()")

    @contextmanager
    def lifted(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Return a context without these triggers; only the owner of the tables can do that."""
        with transaction.atomic(connection.alias):
            self.remove(connection)
        try:
            yield
        finally:
            with transaction.atomic(connection.alias):
                self.install(connection)

    def operation(self) -> migrations.RunPython:
        """Return a migration operation that installs the guards, and drops them when reversed."""

        def install(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
            self.install(editor.connection)

        def remove(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
            self.remove(editor.connection)

        return migrations.RunPython(install, remove)

    def connect(self, app: AppConfig) -> None:
        """Remove the guards before migrations run, and restore them afterwards.

        A migration can change guarded rows. Also, SQLite rebuilds a table to alter it, which drops
        the table's triggers and fails if triggers of other tables refer to it.
        """
        CONNECTED.append(self)
        # by default, signals hold weak references, and bound methods would be collected at once
        pre_migrate.connect(self._lift, sender=app, weak=False)
        post_migrate.connect(self._restore, sender=app, weak=False)

    def _lift(self, using: str, plan: Plan = (), **_: Any) -> None:
        if plan and self in CONNECTED:
            self.remove(connections[using])

    def _restore(self, using: str, plan: Plan = (), **_: Any) -> None:
        connection = connections[using]
        # the SQL matches the newest schema; on an older one, data migrations might still follow
        if self not in CONNECTED or any(
            name.startswith(f"{self.app}.") for name in unapplied_migrations(connection)
        ):
            return
        if missing := self.missing(connection):
            if not plan:
                logger.warning("guards were missing: %s", ", ".join(sorted(missing)))
            self.install(connection)


# Guards of all apps.
CONNECTED: list[Guards] = []


def guarded_tables(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the names of the tables that have guards of any app."""
    return {table for guards in CONNECTED for table in guards.tables(connection)}


def missing(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the missing triggers of all apps; see `Guards.missing`.

    On PostgreSQL, also what disarms triggers or changes rows beside them: rules, row security and
    other triggers on guarded tables, and a session in which no trigger fires.
    """
    found = {name for guards in CONNECTED for name in guards.missing(connection)}
    if _is_postgresql(connection):
        expected = {name for guards in CONNECTED for name in guards.names(connection)}
        found |= definitions.foreign(connection, guarded_tables(connection), expected)
    return found


def restore(connection: BaseDatabaseWrapper) -> set[str]:
    """Create all guards again. Only the owner of the tables can do that.

    Returns:
        What `missing` returned before. It may still return what is not a guard of ours.
    """
    with transaction.atomic(connection.alias):
        found = missing(connection)
        for guards in CONNECTED:
            guards.install(connection)
    return found


def _is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


def _schema_of(connection: BaseDatabaseWrapper, table: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = %s::regclass",
            [table],
        )
        return str(cursor.fetchone()[0])  # PostgreSQL quotes it if needed
