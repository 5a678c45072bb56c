"""Lets the test runner empty tables, which the product's triggers refuse to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.test import TransactionTestCase

    from dashboard.db.triggers import Guards

# What `migrate` writes for the models that there are: no test changes it.
KEPT = frozenset({"django_content_type", "auth_permission"})


def _all_guards() -> tuple[Guards, ...]:
    from backups.guards import GUARDS as of_runs
    from dashboard.audit.guards import GUARDS as of_the_trail

    return of_runs, of_the_trail


@contextmanager
def guards_lifted() -> Iterator[None]:
    """Take the triggers away for the time of a block, as only the database's owner can."""
    from django.db import connection

    with _triggers_disabled() if connection.vendor == "postgresql" else _triggers_dropped():
        yield


@contextmanager
def _triggers_disabled() -> Iterator[None]:
    from django.db import connection, transaction

    tables = sorted(set().union(*(guards.tables(connection) for guards in _all_guards())))

    def alter(how: str) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            connection.check_constraints()  # a table with deferred checks cannot be altered
            cursor.execute("; ".join(f'ALTER TABLE "{each}" {how} TRIGGER USER' for each in tables))

    alter("DISABLE")
    try:
        yield
    finally:
        alter("ENABLE")
        for guards in _all_guards():
            if guards.missing(connection):  # the test dropped them
                with transaction.atomic():
                    guards.install(connection)


@contextmanager
def _triggers_dropped() -> Iterator[None]:
    """SQLite cannot disable triggers. To make them from the models takes 100 times as long."""
    from django.db import connection, transaction

    triggers = _sqlite_triggers()

    def drop() -> None:
        for name in triggers:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")

    with transaction.atomic(), connection.cursor() as cursor:
        drop()
    try:
        yield
    finally:
        with transaction.atomic(), connection.cursor() as cursor:
            drop()
            for sql in triggers.values():
                cursor.execute(sql)


@cache
def _sqlite_triggers() -> dict[str, str]:
    """The SQL of each trigger, under its name."""
    from django.db import connection

    for guards in _all_guards():
        if guards.missing(connection):
            guards.install(connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return dict(cursor.fetchall())


def _delete_all_rows(_case: TransactionTestCase) -> None:
    """Empty the tables that hold rows. Django's flush does more, and takes ten times as long.

    It truncates every table, and has the receivers of `post_migrate` write content types,
    permissions, guards and indexes again, which stay here.
    """
    from django.db import connection, transaction

    quoted = {
        table: connection.ops.quote_name(table)
        for table in connection.introspection.django_table_names(only_existing=True)
        if table not in KEPT
    }
    holds_rows = (
        f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {name})" for table, name in quoted.items()
    )
    with guards_lifted(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(holds_rows))
        for (table,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {quoted[table]}")


@contextmanager
def emptying_allowed_between_tests() -> Iterator[None]:
    """Have a test with real transactions end with empty tables, whatever guards them."""
    from django.test import TransactionTestCase

    flush = TransactionTestCase._fixture_teardown
    TransactionTestCase._fixture_teardown = _delete_all_rows  # type: ignore[attr-defined]
    try:
        yield
    finally:
        TransactionTestCase._fixture_teardown = flush  # type: ignore[attr-defined]
