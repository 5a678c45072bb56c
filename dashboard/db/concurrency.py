"""Writing while the database is away or locked, and rules that count before they write."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

logger = logging.getLogger(__name__)
T = TypeVar("T")


def retry_while_unavailable(work: Callable[[], T], *, seconds: float = 60.0) -> T:
    """Run a database transaction, again and again while the database is unreachable or locked.

    Args:
        work: does its writes and returns; it is run inside `transaction.atomic`, so a broken
            try leaves nothing behind.
        seconds: how long to hold on before the error is raised.

    Returns:
        What `work` returned.

    Raises:
        DatabaseError: the last error, when time is up, or at once when it is not about reaching
            the database.
    """
    deadline = time.monotonic() + seconds
    pause = 0.1
    while True:
        try:
            with transaction.atomic():
                return work()
        except (OperationalError, InterfaceError) as error:
            if connection.in_atomic_block or time.monotonic() + pause > deadline:
                raise
            logger.warning("database unavailable, will retry: %s", one_line(error))
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def several_reads() -> AbstractContextManager[object]:
    """Have several queries share a transaction on PostgreSQL, where each would else be one.

    Not on SQLite: our transactions begin with its write lock.
    """
    return transaction.atomic() if connection.vendor == "postgresql" else nullcontext()


def one_line(error: DatabaseError | InterfaceError) -> str:
    """The first line of a database error, for the log."""
    return str(error).strip().partition("\n")[0][:200]


@functools.cache
def _migrations_of_the_code() -> frozenset[tuple[str, str]]:
    """App and name of every migration of this code; read once per process."""
    return frozenset(MigrationLoader(None).disk_migrations)


def unapplied_migrations(database: BaseDatabaseWrapper | None = None) -> list[str]:
    """Name the migrations of this code that are not applied to the database.

    Probes may call it: it takes one query. Migrations that this code does not know are fine: during
    an upgrade, the old code runs on the new schema.

    Args:
        database: the connection to ask, by default the default one.

    Returns:
        "app.name" of each, sorted; all of them on an empty database.

    Raises:
        DatabaseError: the query failed.
    """
    applied = MigrationRecorder(database or connection).applied_migrations()
    missing = _migrations_of_the_code() - applied.keys()
    return sorted(f"{app}.{name}" for app, name in missing)


def advisory_lock(name: str) -> None:
    """Let one transaction at a time pass this place, until its end. Needs a transaction.

    A rule such as “one admin stays” or “at most twenty” counts rows and then writes. On PostgreSQL
    two transactions do not see each other's writes, so both would count what was there before.
    Call this first: the statements after it see what the transaction before has committed (READ
    COMMITTED). SQLite has one writer, and our transactions begin with its lock.

    Call it before anything is recorded in the audit trail, whose lock comes last.

    Args:
        name: of the rule, with the row that it is about where there is one.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("a rule is locked within a transaction")
    if connection.vendor == "postgresql":
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
