"""What tables refuse, described once and made into triggers of PostgreSQL and of SQLite.

Whoever owns the database can take triggers away; they keep everybody else, and our own mistakes,
from changing what must stay.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import post_migrate, pre_migrate

logger = logging.getLogger(__name__)
Plan = Iterable[tuple[Any, bool]]  # migrations, and whether each is taken back


@dataclass(frozen=True, slots=True)
class RowGuard:
    """What one operation on one table needs.

    Attributes:
        table: name of the table.
        operation: INSERT, UPDATE or DELETE.
        passes: SQL that lets a row pass. In it `{same}` means that no column but `changing` is
            another one, `{is}` compares so that NULL is equal to NULL, and the other words are
            those of `Guards.words`.
        of: the rows that it looks at, as SQL on OLD or NEW without subqueries; "" for all. The
            others cost nothing.
        changing: columns that `{same}` leaves out.
    """

    table: str
    operation: str
    passes: str
    of: str = ""
    changing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guards:
    """Triggers that belong together.

    Attributes:
        rows: row guards under the names of their triggers.
        truncates: tables under the names of the triggers that refuse TRUNCATE (PostgreSQL).
        refusal: what the database answers, with %s for the operation and for the table.
        refuse: name of the function that refuses TRUNCATE.
        migration: app and name of the migration that makes them first.
        words: SQL that the two databases spell differently: word to PostgreSQL's and SQLite's.
    """

    rows: Mapping[str, RowGuard]
    truncates: Mapping[str, str]
    refusal: str
    refuse: str
    migration: tuple[str, str]
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    tables: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        tables = {guard.table for guard in self.rows.values()} | set(self.truncates.values())
        object.__setattr__(self, "tables", frozenset(tables))

    def names(self, connection: BaseDatabaseWrapper) -> set[str]:
        """The triggers that belong there."""
        return set(self.rows) | (set(self.truncates) if _is_postgresql(connection) else set())

    def missing(self, connection: BaseDatabaseWrapper) -> set[str]:
        """The triggers that are not there, were switched off or, on SQLite, are others."""
        if not _is_postgresql(connection):
            wanted = dict(zip(self.rows, _sqlite(self, connection), strict=True))
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            with connection.cursor() as cursor:
                cursor.execute(query)
                there = dict(cursor.fetchall())
            return {name for name, sql in wanted.items() if there.get(name) != sql}
        query = (
            "SELECT tgname FROM pg_trigger WHERE tgrelid = ANY(%s::regclass[]) "
            "AND NOT tgisinternal AND tgenabled IN ('O', 'A')"
        )
        with connection.cursor() as cursor:
            cursor.execute(query, [sorted(self.tables)])
            return self.names(connection) - {row[0] for row in cursor.fetchall()}

    def install(self, connection: BaseDatabaseWrapper) -> None:
        """Make the triggers, in place of those of the same names."""
        self.remove(connection)
        make = _postgresql if _is_postgresql(connection) else _sqlite
        _run(connection, list(make(self, connection)))

    def remove(self, connection: BaseDatabaseWrapper) -> None:
        """Take the triggers away: for migrations and tests."""
        if not _is_postgresql(connection):
            _run(connection, [f"DROP TRIGGER IF EXISTS {name}" for name in self.rows])
            return
        tables = {name: guard.table for name, guard in self.rows.items()} | dict(self.truncates)
        drops = [f"DROP TRIGGER IF EXISTS {name} ON {table}" for name, table in tables.items()]
        functions = [f"{self.refuse}()", *(f"{name}()" for name in self.rows)]
        _run(connection, [*drops, *(f"DROP FUNCTION IF EXISTS {each}" for each in functions)])

    def connect(self, app: AppConfig) -> None:
        """Lift the guards while migrations are under way, and have them in place afterwards.

        A migration may have to change rows that nobody else may, and SQLite makes a table anew to
        alter it, which drops its triggers and fails on those of other tables that speak of it.
        """
        CONNECTED.append(self)
        # bound methods would be gone at once: signals hold them weakly
        pre_migrate.connect(self._lift, sender=app, weak=False)
        post_migrate.connect(self._restore, sender=app, weak=False)

    def _lift(self, using: str, plan: Plan = (), **_: Any) -> None:
        if plan and self._can_stand(connections[using]):
            self.remove(connections[using])

    def _restore(self, using: str, plan: Plan = (), **_: Any) -> None:
        connection = connections[using]
        # where the migration that makes them was taken back, data is being carried over
        if self.migration not in MigrationRecorder(connection).applied_migrations():
            return
        if self._can_stand(connection) and (gone := self.missing(connection)):
            if not plan:
                logger.warning("guards were missing: %s", ", ".join(sorted(gone)))
            self.install(connection)

    def _can_stand(self, connection: BaseDatabaseWrapper) -> bool:
        return self.tables <= set(connection.introspection.table_names())


# All that were connected, for whoever reports what is missing.
CONNECTED: list[Guards] = []


def missing(connection: BaseDatabaseWrapper) -> set[str]:
    """Every trigger of the product that is not there."""
    return {name for guards in CONNECTED for name in guards.missing(connection)}


def _is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


def _run(connection: BaseDatabaseWrapper, statements: Iterable[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _sqlite(guards: Guards, connection: BaseDatabaseWrapper) -> Iterator[str]:
    for name, guard in guards.rows.items():
        passes = guard.passes
        same = ""
        if "{same}" in passes:
            same = " AND ".join(
                f'NEW."{column}" IS OLD."{column}"' for column in _columns(connection, guard)
            )
        words = {word: spelt[1] for word, spelt in guards.words.items()}
        passes = passes.format(same=f"({same})", **words, **{"is": "IS"})
        # A condition that comes to NULL lets nothing pass either.
        when = f"({guard.of}) AND ({passes}) IS NOT TRUE" if guard.of else f"({passes}) IS NOT TRUE"
        refusal = guards.refusal % (guard.operation, guard.table)
        yield (
            f"CREATE TRIGGER {name} BEFORE {guard.operation} ON {guard.table} FOR EACH ROW "
            f"WHEN {when} BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        )


def _columns(connection: BaseDatabaseWrapper, guard: RowGuard) -> list[str]:
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, guard.table)
    return [column.name for column in described if column.name not in guard.changing]


def _postgresql(guards: Guards, connection: BaseDatabaseWrapper) -> Iterator[str]:
    # pg_temp last: it goes before all others otherwise, and anybody's temporary table named like
    # ours would answer the guards' questions.
    path = f"SET search_path = {_schema(connection, guards)}, pg_temp"
    refuse = (
        f"RAISE EXCEPTION '{guards.refusal}', TG_OP, TG_TABLE_NAME "
        "USING ERRCODE = 'integrity_constraint_violation';"
    ).replace("%s", "%")
    for name, guard in guards.rows.items():
        # All columns but those, also of migrations to come. The texts are compared as JSON.
        but = "".join(f" - '{column}'" for column in guard.changing)
        same = f"(to_jsonb(NEW){but} = to_jsonb(OLD){but})"
        words = {word: spelt[0] for word, spelt in guards.words.items()}
        passes = guard.passes.format(same=same, **words, **{"is": "IS NOT DISTINCT FROM"})
        row = "OLD" if guard.operation == "DELETE" else "NEW"
        yield (
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {path} AS $$ BEGIN "
            f"IF ({passes}) IS NOT TRUE THEN {refuse} END IF; RETURN {row}; END $$"
        )
        when = f"WHEN ({guard.of}) " if guard.of else ""
        yield (
            f"CREATE TRIGGER {name} BEFORE {guard.operation} ON {guard.table} "
            f"FOR EACH ROW {when}EXECUTE FUNCTION {name}()"
        )
    yield (
        f"CREATE FUNCTION {guards.refuse}() RETURNS trigger LANGUAGE plpgsql "
        f"AS $$ BEGIN {refuse} END $$"
    )
    for name, table in guards.truncates.items():
        yield (
            f"CREATE TRIGGER {name} BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {guards.refuse}()"
        )


def _schema(connection: BaseDatabaseWrapper, guards: Guards) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = %s::regclass",
            [min(guards.tables)],
        )
        return str(cursor.fetchone()[0])  # quoted where it needs to be
